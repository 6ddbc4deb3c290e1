"""The user's preferences: what a new session's settings start from (Preferences > EMSynth)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from napari_emsynth.plugin.restore.request import DEFAULT_METHOD, Settings

PLUGIN = "napari-emsynth"
BLINK_KEY = "K"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Where a session starts.

    Args:
        settings: of a repair.
        blink_key: held to see the original.
    """

    settings: Settings = field(default_factory=Settings)
    blink_key: str = BLINK_KEY


def preferences() -> Preferences:
    """Read the preferences; the defaults where napari keeps none (an older one, or one that runs us loose)."""
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings(PLUGIN).restore
    except (ImportError, KeyError, AttributeError) as reason:
        logger.debug("no preferences: %s", reason)
        return Preferences()
    return Preferences(
        settings=Settings(
            method=chosen.method.strip() or DEFAULT_METHOD,
            device=chosen.device,
            selfcheck=chosen.selfcheck,
            place="in place" if chosen.in_place else "new layer",
            lazy=chosen.lazy,
            with_mask=chosen.with_mask,
            with_uncertainty=chosen.with_uncertainty,
        ),
        blink_key=chosen.blink_key.strip() or BLINK_KEY,
    )
