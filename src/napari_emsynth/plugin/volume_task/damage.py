"""A task that asks which sections are damaged; what was said and found of each layer is remembered with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import Signal

from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.volume_task.session import VolumeTask
from napari_emsynth.sections import spans

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Suspect


class DamageTask(VolumeTask):
    """One such task in one viewer; its settings have the field ``damaged``.

    Signals:
        suspected: damaged sections of some layer were looked for.

    Attributes:
        counted: kinds of damage that a section is taken to be damaged for, unless the user says otherwise.
    """

    suspected = Signal()
    counted: ClassVar[Collection[str]]
    settings: Any

    def __init__(self, session: Any, start: Any) -> None:
        super().__init__(session, start)
        self._damaged: dict[Any, str] = {}
        self._suspects: dict[Any, list[Suspect]] = {}

    def remember_damaged(self, layer: Any, damaged: str) -> None:
        """Remember which sections of a layer are damaged."""
        if layer is not None:
            self._damaged[layer.unique_id] = damaged

    def known_of(self, layer: Any) -> Any:
        """Return the settings with what is known of a layer, and what is assumed of one that nothing is known of."""
        if layer is None:
            return self.settings
        return replace(self.settings, damaged=self._damaged.get(layer.unique_id, DETECTED))

    def suspects(self, layer: Any) -> list[Suspect]:
        """Return the damaged sections that were found in a layer."""
        return [] if layer is None else self._suspects.get(layer.unique_id, [])

    def find_damaged(self, layer: Any, channel: int | None = None) -> QueuedJob | None:
        """Look for damaged sections; those of the kinds that count are taken to be damaged."""

        def found(suspects: list[Suspect]) -> None:
            self._suspects[layer.unique_id] = suspects
            self.remember_damaged(layer, spans(of_kinds(suspects, self.counted)))
            self.suspected.emit()

        return self.detect(layer, channel, found)


def of_kinds(suspects: Sequence[Suspect], kinds: Collection[str]) -> list[int]:
    """Return the sections that are damaged in one of some ways."""
    return [suspect.section for suspect in suspects if suspect.kind in kinds]
