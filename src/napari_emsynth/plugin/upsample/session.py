"""What the plugin knows of upsampling in one viewer: beside a task's, what was said and found of each layer.

Laws: what a section is, and which sections are damaged, is a matter of the layer, and is remembered with it; labels
follow a result that is in the viewer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_emsynth.methods.upsample.lattice import check_number, isotropic_factor
from napari_emsynth.plugin.layers.convert import find_layer
from napari_emsynth.plugin.layers.view_3d import View3D
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.code import More, linked_code
from napari_emsynth.plugin.volume_task.damage import DamageTask
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.volume import Volume


class UpsampleTask(DamageTask):
    """Upsampling in one viewer."""

    # These show nothing of their own place, beyond any doubt.
    counted = ("missing", "blank", "duplicate")
    settings: UpsampleSettings

    def __init__(self, session: Any, start: UpsampleSettings) -> None:
        super().__init__(session, start)
        self.view_3d = View3D(session)
        # Unique ids of the labels layers that the user ticked to follow.
        self.ticked: list[Any] = []
        self._answers: dict[Any, str] = {}

    def fitted(self, settings: VolumeSettings, volume: Volume) -> VolumeSettings:
        """Return settings with the factor that makes a volume's voxels cubes, where that is asked for.

        Raises:
            InputError: voxels that cannot be made cubes, a factor outside 2 to 12.
        """
        assert isinstance(settings, UpsampleSettings)
        if not settings.isotropic:
            check_number(settings.factor)
            return settings
        return replace(settings, factor=isotropic_factor(volume.grid))

    # -- what is known of a layer ------------------------------------------------------------------

    def is_answered(self, layer: Any) -> bool:
        """True when the user has said what a section of a layer is."""
        return layer is not None and layer.unique_id in self._answers

    def answer(self, layer: Any, sampling: str) -> None:
        """Remember what a section of a layer is."""
        if layer is not None:
            self._answers[layer.unique_id] = sampling

    def known_of(self, layer: Any) -> UpsampleSettings:
        """Return the settings with what is known of a layer, and what is assumed of one that nothing is known of."""
        known: UpsampleSettings = super().known_of(layer)
        if layer is None:
            return known
        return replace(known, sampling=self._answers.get(layer.unique_id, "point"))

    # -- other layers ------------------------------------------------------------------------------

    def code_parts(self, layer: Any, channel: int | None) -> tuple[Volume, str | None, More]:
        """Return what the code is about, with the labels that follow."""
        volume, path, _ = super().code_parts(layer, channel)
        linked = [found for i in self.ticked if (found := find_layer(self.session.viewer, i)) is not None]
        return volume, path, linked_code(linked, "upsampled")
