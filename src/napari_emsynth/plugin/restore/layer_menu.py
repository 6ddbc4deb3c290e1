"""Entries in the context menu of the layer list.

napari drops them from a manifest, so they are registered while it runs, through a model that is not public. Law:
where that model is gone nothing happens; the same commands are in the canvas menu and in the Layers menu.
"""

from __future__ import annotations

import logging

MENU = "napari/layers/context"
GROUP = "9_emsynth"
ENTRIES = {
    "interpolate_section": "Interpolate this section",
    "mark_damaged": "Mark this section as damaged",
    "detect_damaged": "Mark damaged sections (detect)",
}
logger = logging.getLogger(__name__)


def entry_id(command: str) -> str:
    """Return the id of one entry; the manifest's own ids are taken by the manifest."""
    return f"napari-emsynth.layer_list.{command}"


def install_layer_menu() -> bool:
    """Put the entries in place, once a process; return whether they are there."""
    try:
        from app_model.types import Action
        from napari._app_model import get_app_model

        app = get_app_model()
        for order, (command, title) in enumerate(ENTRIES.items()):
            if entry_id(command) not in app.commands:
                app.register_action(
                    Action(
                        id=entry_id(command),
                        title=title,
                        callback=f"napari_emsynth.plugin.commands:{command}",
                        menus=[{"id": MENU, "group": GROUP, "order": order}],
                    )
                )
    except (ImportError, AttributeError) as reason:
        logger.debug("no entries in the layer list: %s", reason)
        return False
    return True
