"""The user's preferences: what the settings of all docks start from (Preferences > EMSynth)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

PLUGIN = "napari-emsynth"
BLINK_KEY = "K"
# They hold for every task.
COMMON = ("device", "selfcheck", "lazy", "with_mask", "with_uncertainty")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Where a session starts.

    Args:
        method: of a repair; "" for the default.
        in_place: a repair replaces the layer's data.
        device, selfcheck, lazy, with_mask, with_uncertainty: of all tasks, see
            :class:`~napari_emsynth.plugin.widgets.method_settings.MethodSettings`.
        blink_key: held to see the original.
    """

    method: str = ""
    in_place: bool = False
    device: str = "auto"
    selfcheck: bool = True
    lazy: bool = False
    with_mask: bool = True
    with_uncertainty: bool = False
    blink_key: str = BLINK_KEY

    def common(self) -> dict[str, Any]:
        """Return the part that every task's settings have."""
        return {name: getattr(self, name) for name in COMMON}


def preferences() -> Preferences:
    """Read the preferences; the defaults where napari keeps none (an older one, or one that runs us loose)."""
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings(PLUGIN).restore
    except (ImportError, KeyError, AttributeError) as reason:
        logger.debug("no preferences: %s", reason)
        return Preferences()
    return Preferences(
        method=chosen.method.strip(),
        in_place=chosen.in_place,
        blink_key=chosen.blink_key.strip() or BLINK_KEY,
        **{name: getattr(chosen, name) for name in COMMON},
    )
