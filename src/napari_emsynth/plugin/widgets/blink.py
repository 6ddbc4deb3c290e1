"""The blink key: while it is held, the original is shown. Bound only while a dock that uses it is visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.viewer.preferences import BLINK_KEY
from napari_emsynth.plugin.viewer.session import Session


@dataclass
class _Bound:
    """A key that is ours for now: what it did before, and the docks that use it."""

    key: str
    before: Any
    users: set[int] = field(default_factory=set)


# One binding a viewer, however many docks are open: each would else give back what another had bound.
_BOUND: WeakKeyDictionary[Session, _Bound] = WeakKeyDictionary()


class BlinkKey:
    """One dock's use of the key; when the last dock lets go, the key is as it was."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def bind(self) -> None:
        """Take the key."""
        if self._session.is_closed:
            return
        if self._session not in _BOUND:
            _BOUND[self._session] = _take(self._session)
        _BOUND[self._session].users.add(id(self))

    def release(self) -> None:
        """Give the key back."""
        bound = _BOUND.get(self._session)
        if bound is None or self._session.is_closed:
            return
        bound.users.discard(id(self))
        if not bound.users:
            del _BOUND[self._session]
            self._session.viewer.bind_key(bound.key, bound.before, overwrite=True)


def _take(session: Session) -> _Bound:
    def hold(viewer: Any) -> Iterator[None]:  # noqa: ARG001 - napari hands the viewer over
        session.compare(True)
        yield
        session.compare(False)

    key = session.blink_key
    try:
        return _Bound(key, session.viewer.bind_key(key, hold, overwrite=True))
    except (ValueError, TypeError):
        notify.warn(f"{key!r} is not a key; {BLINK_KEY} shows the original (Preferences > EMSynth)")
        return _Bound(BLINK_KEY, session.viewer.bind_key(BLINK_KEY, hold, overwrite=True))
