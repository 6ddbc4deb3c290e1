"""The blink key: while it is held, the original is shown. Bound only while the dock is visible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari_emsynth.plugin import notify
from napari_emsynth.plugin.session import Session
from napari_emsynth.plugin.settings import BLINK_KEY


class BlinkKey:
    """Binds a key of the viewer and gives it back as it was."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bound: tuple[str, Any] | None = None

    def bind(self) -> None:
        """Take the key."""
        if self._bound is not None or self._session.is_closed:
            return
        key = self._session.blink_key
        try:
            before = self._session.viewer.bind_key(key, self._hold, overwrite=True)
        except (ValueError, TypeError):
            notify.warn(f"{key!r} is not a key; {BLINK_KEY} shows the original (Preferences > EMSynth)")
            key, before = BLINK_KEY, self._session.viewer.bind_key(BLINK_KEY, self._hold, overwrite=True)
        self._bound = (key, before)

    def release(self) -> None:
        """Give the key back."""
        if self._bound is None or self._session.is_closed:
            return
        key, before = self._bound
        self._bound = None
        self._session.viewer.bind_key(key, before, overwrite=True)

    def _hold(self, viewer: Any) -> Iterator[None]:  # noqa: ARG002 - napari hands the viewer over
        self._session.compare(True)
        yield
        self._session.compare(False)
