"""News of the user's own weights, for every dock of every viewer: whoever offers weights listens.

own_weights().weights_changed.connect(self.refresh_weights)
"""

from __future__ import annotations

from functools import cache

from qtpy.QtCore import QObject, Signal

from napari_emsynth.weights import own


class OwnWeights(QObject):
    """The user's folder of weights, as the window sees it.

    Signals:
        weights_changed: it holds other weights than before.
    """

    weights_changed = Signal()

    def names(self, method: str) -> list[str]:
        """Return the names of the user's own weights for TASK/ID."""
        return own.names(method)


@cache
def own_weights() -> OwnWeights:
    """Return the one there is."""
    return OwnWeights()
