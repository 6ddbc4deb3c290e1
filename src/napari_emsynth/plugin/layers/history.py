"""Undo and redo of what the plugin did to a viewer: layers added, data replaced in place, sections marked.

Law: undo then redo leaves viewer and marks as they were; what the user removed by hand in between is passed
over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from napari_emsynth.plugin.layers.convert import find_layer

# Steps keep the arrays they may have to bring back.
LONGEST = 20


class Step(Protocol):
    """Something that can be taken back."""

    @property
    def title(self) -> str:
        """What it did, in a few words."""

    def undo(self, viewer: Any) -> None:
        """Take it back."""

    def redo(self, viewer: Any) -> None:
        """Do it again."""


@dataclass(frozen=True)
class AddedLayers:
    """Layers were added to the viewer."""

    title: str
    layers: list[Any]

    def undo(self, viewer: Any) -> None:
        """Remove those that are still there; what lay below them is active, where napari would choose nothing."""
        there = [layer for layer in self.layers if find_layer(viewer, layer.unique_id) is not None]
        lowest = min((viewer.layers.index(layer) for layer in there), default=0)
        for layer in there:
            viewer.layers.remove(layer)
        if there and viewer.layers and not viewer.layers.selection:
            viewer.layers.selection.active = viewer.layers[max(0, lowest - 1)]

    def redo(self, viewer: Any) -> None:
        """Add those that are not there; the result is active, not its mask."""
        missing = [layer for layer in self.layers if find_layer(viewer, layer.unique_id) is None]
        for layer in missing:
            viewer.layers.append(layer)
        if missing:
            viewer.layers.selection.active = self.layers[0]


@dataclass(frozen=True)
class ReplacedData:
    """A layer's data and record were exchanged."""

    title: str
    layer: Any
    before: tuple[Any, dict[str, Any]]
    after: tuple[Any, dict[str, Any]]

    def undo(self, viewer: Any) -> None:  # noqa: ARG002 - the common signature
        """Bring the old data back."""
        put_data(self.layer, *self.before)

    def redo(self, viewer: Any) -> None:  # noqa: ARG002 - the common signature
        """Put the new data in again."""
        put_data(self.layer, *self.after)


def put_data(layer: Any, data: Any, metadata: dict[str, Any]) -> None:
    """Exchange a layer's data and metadata; contrast limits stay."""
    limits = list(layer.contrast_limits)
    layer.data = data
    layer.contrast_limits = limits
    layer.metadata = metadata


@dataclass(frozen=True)
class ChangedMarks:
    """The list of marked sections of a layer was changed."""

    title: str
    put: Callable[[Any], None]
    before: Any
    after: Any

    def undo(self, viewer: Any) -> None:  # noqa: ARG002 - the common signature
        """Put the old list back."""
        self.put(self.before)

    def redo(self, viewer: Any) -> None:  # noqa: ARG002 - the common signature
        """Put the new list back."""
        self.put(self.after)


class History:
    """The steps done and undone."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.undone: list[Step] = []

    def add(self, step: Step) -> None:
        """Remember a step that was just done; what was undone before it is forgotten."""
        self.done = [*self.done, step][-LONGEST:]
        self.undone = []

    def undo(self, viewer: Any) -> str | None:
        """Take the last step back and return its title, None when there is none."""
        if not self.done:
            return None
        step = self.done.pop()
        step.undo(viewer)
        self.undone.append(step)
        return step.title

    def redo(self, viewer: Any) -> str | None:
        """Do the last undone step again and return its title, None when there is none."""
        if not self.undone:
            return None
        step = self.undone.pop()
        step.redo(viewer)
        self.done.append(step)
        return step.title
