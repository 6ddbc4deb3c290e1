"""What the plugin knows of alignment in one viewer: beside a task's, the fields of results, kept and taken up again.

Laws: an alignment that is in the viewer can be applied, inverted, saved and aligned upon; one that was undone cannot.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.align_with import with_field
from napari_emsynth.plugin.align.code import more_code
from napari_emsynth.plugin.align.run import materials_of, tested
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.align.views import FieldViews
from napari_emsynth.plugin.copy_as_code import source_path
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import current_section, find_layer, full_data, voxel_nm_of
from napari_emsynth.plugin.layers.results import Shown
from napari_emsynth.plugin.viewer.session import ready
from napari_emsynth.plugin.volume_task.code import More
from napari_emsynth.plugin.volume_task.layers import build_volume_layers, placed
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.volume_task.session import VolumeTask
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.volume import Volume

NO_FIELD = "no alignment by displacements is in the viewer; run one, or load a field"


class AlignTask(VolumeTask):
    """Alignment in one viewer.

    Signals:
        self_tested: a self-test's JSON object, or None when there is none any more.
    """

    self_tested = Signal(object)
    settings: AlignSettings

    def __init__(self, session: Any, start: AlignSettings) -> None:
        super().__init__(session, start)
        self.views = FieldViews(session, self.current)
        session.results_changed.connect(self._results_changed)
        # Unique ids of the layers that the user ticked to go along.
        self.ticked: list[Any] = []
        self.last_self_test: dict[str, Any] | None = None

    def show(self, source: tuple[Any, str], job: QueuedJob, made: tuple[VolumeOutcome, list[Any]]) -> None:
        """Bring a finished alignment to the screen; what was drawn of an older one would mislead."""
        self.views.hide_all()
        super().show(source, job, made)

    def _results_changed(self) -> None:
        if not self.session.is_closed:
            self.views.drop_orphans()

    # -- what a run is given -----------------------------------------------------------------------

    def inputs(self, volume: Volume, settings: VolumeSettings) -> dict[str, Any]:
        """Return the materials, where a labels layer says what they are."""
        assert isinstance(settings, AlignSettings)
        if settings.materials is None:
            return {}
        layer = find_layer(self.session.viewer, settings.materials)
        if layer is None:
            raise InputError("the labels layer of the materials is gone; choose another, or none")
        labels = Volume.of(full_data(layer), voxel_nm=voxel_nm_of(layer), name=layer.name)
        return {"materials": materials_of(labels, volume.shape, settings.labels("tears"), settings.labels("ignored"))}

    def code_parts(self, layer: Any, channel: int | None) -> tuple[Volume, str | None, More]:
        """Return what the code is about; a layer that is aligned already is taken up from its original."""
        volume, path, _ = super().code_parts(layer, channel)
        viewer, shown, first = self.session.viewer, self.session.shown_by(layer), None
        if shown is not None and shown.result.displacement is not None and self.moves():
            first, volume = layer, shown.outcome.source or volume
            original = find_layer(viewer, shown.source_id)
            path = None if original is None else source_path(original)
        along = [found for i in self.ticked if (found := find_layer(viewer, i)) is not None]
        materials = find_layer(viewer, self.settings.materials)
        return volume, path, more_code(self.settings, materials, along, first)

    def moves(self) -> bool:
        """True when the chosen method answers with displacements."""
        engine = self.session.engine
        spec = None if engine is None else engine.spec(self.settings.method, self.name)
        return spec is not None and spec.answers == "displacement"

    # -- the alignment in use ----------------------------------------------------------------------

    def current(self, layer: Any = None) -> Shown | None:
        """Return the newest alignment with a field that is in the viewer; one of ``layer``, where there is one."""
        viewer, there = self.session.viewer, []
        for shown in self.session.shown:
            if _field(shown) is not None and find_layer(viewer, shown.layer_id) is not None:
                there.append(shown)
        chosen = None if layer is None else layer.unique_id
        own = [shown for shown in there if chosen in (shown.layer_id, shown.source_id)]
        return next(reversed(own or there), None)

    def wanted(self, layer: Any = None) -> Shown:
        """Return the same.

        Raises:
            InputError: there is none.
        """
        found = self.current(layer)
        if found is None:
            raise InputError(NO_FIELD)
        return found

    # -- fields in files ---------------------------------------------------------------------------

    def save_field(self, layer: Any, path: Path) -> QueuedJob | None:
        """Write the field in use, in the format that the suffix names."""

        def prepare() -> QueuedJob:
            result = self.wanted(layer).result

            def work(job: QueuedJob) -> Path:
                from napari_emsynth.io.fields import format_of, write_field

                dense = not format_of(path, "write").keeps_nodes
                return write_field(result, path, dense=dense, overwrite=True, progress=job.report, cancel=job.cancel)

            return QueuedJob(f"Save {path.name}", work, on_done=self._saved, on_failed=self.refuse, owner=self.name)

        return self.submit(prepare)

    def _saved(self, path: Path) -> None:
        notify.info(f"the displacement field is written to {path}")

    def load_field(self, layer: Any, path: Path, channel: int | None = None) -> QueuedJob | None:
        """Align a layer by a field that was saved; it may have been found on a binned copy."""

        def prepare() -> QueuedJob:
            volume, placement = self.volume(layer, channel), placed(layer, self.settings)
            settings = self.settings

            def work(job: QueuedJob) -> tuple[VolumeOutcome, list[Any]]:
                ready(job)
                outcome = with_field(volume, path, settings, job.runtime())
                job.cancel.check()
                return outcome, build_volume_layers(outcome, placement)

            job = QueuedJob(f"Align by {path.name}", work, on_failed=self.refuse, owner=self.name)
            job.on_done = partial(self.show, (layer.unique_id, layer.name), job)
            return job

        return self.submit(prepare)

    # -- self-test ---------------------------------------------------------------------------------

    def self_test(self, layer: Any, channel: int | None = None) -> QueuedJob | None:
        """See whether the chosen method finds a known warp of the layer's own sections."""

        def prepare() -> QueuedJob:
            volume, settings = self.volume(layer, channel), self.settings
            skip = settings.numbers().listed("skip", volume.shape[0])

            def work(job: QueuedJob) -> dict[str, Any]:
                ready(job)
                return tested(volume, settings, skip, job.runtime(**settings.runtime_options()))

            return QueuedJob("Self-test", work, on_done=self._tested, on_failed=self.refuse, owner=self.name)

        return self.submit(prepare)

    def _tested(self, found: dict[str, Any]) -> None:
        self.last_self_test = found
        self.self_tested.emit(found)

    # -- sections ----------------------------------------------------------------------------------

    def reference_here(self, layer: Any) -> str | None:
        """Return the section on screen, as text for a list of sections."""
        if layer is None:
            self.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
            return None
        return str(current_section(self.session.viewer, layer))


def _field(shown: Shown) -> Any | None:
    """Return the displacement of a result, None of others."""
    return shown.result.displacement
