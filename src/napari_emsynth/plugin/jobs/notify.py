"""One line to the user, as a napari notification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.utils.notifications import Notification, NotificationSeverity, notification_manager, show_info, show_warning

Action = tuple[str, Callable[[], Any]]


def info(line: str) -> None:
    """Say that something went well."""
    show_info(line)


def warn(line: str, actions: Sequence[Action] = ()) -> None:
    """Say that something was refused or needs attention, with buttons for what can be done about it."""
    if not actions:
        show_warning(line)
        return
    # napari hands each action the notification it sits on; ours need nothing.
    buttons = [(label, lambda *_args, act=act: act()) for label, act in actions]
    notification_manager.dispatch(Notification(line, severity=NotificationSeverity.WARNING, actions=buttons))


def use_instead(method: str) -> str:
    """Return what a button says that does the last task again by another method."""
    return f"Use {method} instead"
