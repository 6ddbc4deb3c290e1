"""What the plugin knows of upsampling in one viewer: beside a task's, what was said and found of each layer.

Laws: what a section is, and which sections are damaged, is a matter of the layer, and is remembered with it; labels go
along with a result that is in the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_emsynth.plugin.align_settings import DETECTED
from napari_emsynth.plugin.in_three import InThree
from napari_emsynth.plugin.jobs import Job
from napari_emsynth.plugin.layers import find_layer
from napari_emsynth.plugin.upsample_code import labels_code
from napari_emsynth.plugin.upsample_settings import UpsampleSettings, check_range, isotropic_factor
from napari_emsynth.plugin.volume_code import More
from napari_emsynth.plugin.volume_session import VolumeTask
from napari_emsynth.plugin.volume_settings import VolumeSettings
from napari_emsynth.sections import spans
from napari_emsynth.volume import Volume

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Suspect

# These show nothing of their own place, beyond any doubt.
CERTAIN = frozenset({"blank", "duplicate"})


class UpsampleTask(VolumeTask):
    """Upsampling in one viewer.

    Signals:
        suspected: damaged sections of some layer were looked for.
    """

    suspected = Signal()
    settings: UpsampleSettings

    def __init__(self, session: Any, start: UpsampleSettings) -> None:
        super().__init__(session, start)
        self.in_three = InThree(session)
        # Unique ids of the labels layers that the user ticked to go along.
        self.ticked: list[Any] = []
        self._answers: dict[Any, str] = {}
        self._damaged: dict[Any, str] = {}
        self._suspects: dict[Any, list[Suspect]] = {}

    def fitted(self, settings: VolumeSettings, volume: Volume) -> VolumeSettings:
        """Return settings with the factor that makes a volume's voxels cubes, where that is asked for.

        Raises:
            InputError: voxels that cannot be made cubes, a factor outside 2 to 12.
        """
        assert isinstance(settings, UpsampleSettings)
        if not settings.isotropic:
            check_range(settings.factor)
            return settings
        return replace(settings, factor=isotropic_factor(volume.grid.voxel_nm))

    # -- what is known of a layer ------------------------------------------------------------------

    def is_answered(self, layer: Any) -> bool:
        """True when the user has said what a section of a layer is."""
        return layer is not None and layer.unique_id in self._answers

    def answer(self, layer: Any, sampling: str) -> None:
        """Remember what a section of a layer is."""
        if layer is not None:
            self._answers[layer.unique_id] = sampling

    def remember_damaged(self, layer: Any, damaged: str) -> None:
        """Remember which sections of a layer are damaged."""
        if layer is not None:
            self._damaged[layer.unique_id] = damaged

    def known_of(self, layer: Any) -> UpsampleSettings:
        """Return the settings with what is known of a layer, and what is assumed of one that nothing is known of."""
        if layer is None:
            return self.settings
        key = layer.unique_id
        sampling, damaged = self._answers.get(key, "point"), self._damaged.get(key, DETECTED)
        return replace(self.settings, sampling=sampling, damaged=damaged)

    def suspects(self, layer: Any) -> list[Suspect]:
        """Return the damaged sections that were found in a layer."""
        return [] if layer is None else self._suspects.get(layer.unique_id, [])

    def find_damaged(self, layer: Any, channel: int | None = None) -> Job | None:
        """Look for damaged sections; those that are beyond doubt are to be repaired."""

        def found(suspects: list[Suspect]) -> None:
            self._suspects[layer.unique_id] = suspects
            self.remember_damaged(layer, spans(certain(suspects)))
            self.suspected.emit()

        return self.detect(layer, channel, found)

    # -- other layers ------------------------------------------------------------------------------

    def code_parts(self, layer: Any, channel: int | None) -> tuple[Volume, str | None, More]:
        """Return what the code is about, with the labels that go along."""
        volume, path, _ = super().code_parts(layer, channel)
        along = [found for i in self.ticked if (found := find_layer(self.session.viewer, i)) is not None]
        return volume, path, labels_code(along)


def certain(suspects: Sequence[Suspect]) -> list[int]:
    """Return the sections that have no information of their own."""
    return [suspect.section for suspect in suspects if suspect.kind in CERTAIN]
