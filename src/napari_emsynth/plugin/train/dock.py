"""The Train models dock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFrame, QLabel, QProgressBar, QVBoxLayout

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.copy_as_code import source_path, to_clipboard
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.layers.convert import image_layers, volume_of
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.train.code import as_code
from napari_emsynth.plugin.train.curves import TrainingCurves
from napari_emsynth.plugin.train.form import TrainForm
from napari_emsynth.plugin.train.preview_panel import TrainingPanels
from napari_emsynth.plugin.train.region import shape_of
from napari_emsynth.plugin.train.region_box import RegionForm
from napari_emsynth.plugin.train.session import TrainSession, volume_for
from napari_emsynth.plugin.widgets.buttons import button, combo, rows
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.sections import spans
from napari_emsynth.training.job import TrainingJob, Unfinished
from napari_emsynth.volume import Volume
from napari_emsynth.weights import own

REDRAW_MS = 250
STEPS = 1000


class TrainModels(Dock):
    """Choose what, look, keep the weights.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = "train"

    def __init__(self, napari_viewer: Any) -> None:
        install(napari_viewer)
        super().__init__(napari_viewer)
        self.training = TrainSession.of(self.session)
        self.region, self.form = RegionForm(self.session), TrainForm()
        self.curves, self.panels = TrainingCurves(), TrainingPanels()
        self.left = UnfinishedBox()
        self.train = button("Train", "Begin; the window stays free")
        self.pause = button("Pause", "Hold after the step at hand; the time does not count")
        self.stop = button("Stop", "End, and keep the best weights so far")
        self.copy = button("Copy as code", "Copy the training as Python and as one command line")
        self.bar, self.line = QProgressBar(), QLabel()
        self._redraw = QTimer(self, interval=REDRAW_MS)
        self._lay_out()
        self._connect()
        self._layer_changed()
        self.form.set_engine(self.session.engine)
        self.session.load_engine()
        self.refresh()

    # -- acting ------------------------------------------------------------------------------------

    def job(self) -> TrainingJob:
        """Return what the dock says.

        Raises:
            InputError: no usable layer or region, no method yet, a name that cannot be.
        """
        settings = self.form.value()
        roi = self.region.value()
        spec = self.form.spec()
        if spec is None:
            raise InputError("the methods are still being loaded; try again in a moment")
        volume = self.volume()
        return TrainingJob(
            method=settings.method,
            out=str(own.file_of(settings.name, spec.weights)),
            start=settings.start or None,
            objective=settings.objective or None,
            minutes=settings.minutes,
            steps=settings.steps,
            roi=roi,
            device=settings.device,
            seed=settings.seed,
            source=source_path(self.region.layer()),
            data=volume.name,
            voxel_nm=volume.grid.voxel_nm,
        )

    def volume(self) -> Volume:
        """Return what the chosen layer shows."""
        return volume_of(self.region.layer(), self.region.channel_index())

    def run(self) -> None:
        """Begin."""
        job = self.session.attempt(self.job)
        if job is not None and self.training.start(job, self.volume()) is not None:
            self._warn_of_damage(job)
            self._look()

    def go_on_with(self, left: Unfinished) -> None:
        """Go on with an unfinished run, on the layer or file it learnt from."""

        def find() -> Volume:
            layers = [(x.name, source_path(x), x) for x in image_layers(self.session.viewer)]
            found = volume_for(left.job, layers, self.region.layer(), self._read(left.job))
            return found if isinstance(found, Volume) else volume_of(found, self.region.channel_index())

        volume = self.session.attempt(find)
        if volume is not None:
            self.training.start(left.job, volume, left)
            self._look()

    def copy_code(self) -> str | None:
        """Put the training on the clipboard, as code."""
        job = self.session.attempt(self.job)
        if job is None:
            return None
        return to_clipboard(as_code(job, self.volume()))

    # -- following ---------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the training as it is."""
        running = self.training.is_running
        self.region.setEnabled(not running)
        self.form.setEnabled(not running)
        self.left.show_runs([] if running else self.training.unfinished())
        self.train.setVisible(not running)
        self.pause.setVisible(running)
        self.stop.setVisible(running)
        run = self.training.run
        self.pause.setText("Go on" if run is not None and run.is_paused else "Pause")
        self.stop.setEnabled(run is not None and not run.is_stopping)
        if running:
            self._redraw.start()
        else:
            self._redraw.stop()
        self.redraw()

    def redraw(self) -> None:
        """Draw what the run has told since."""
        run = self.training.run
        for widget in (self.curves, self.line, self.bar):
            widget.setVisible(run is not None)
        if run is None:
            return
        self.curves.show_loss(run.loss.points)
        self.curves.show_checks(run.checks)
        self.panels.show_panels(run.panels)
        self.line.setText(run.describe())
        waiting = self.training.is_running and not run.terms
        # A bar without a range moves to and fro: something goes on, nobody knows how long.
        self.bar.setRange(0, 0 if waiting else STEPS)
        if not waiting:
            self.bar.setValue(round(STEPS * run.terms.get("progress", 0.0)))

    def _look(self) -> None:
        """Scroll to the curves."""
        QTimer.singleShot(0, lambda: self.scroll.ensureWidgetVisible(self.panels, 0, 0))

    def _warn_of_damage(self, job: TrainingJob) -> None:
        """Say that damage is learnt from as if it were tissue."""
        low, high = (0, shape_of(self.region.layer())[0]) if job.roi is None else job.roi[0]
        marked = [m for m in RestoreTask.of(self.session).marks_of(self.region.layer()) if m.treatment != "insert"]
        inside = sorted({m.section for m in marked if low <= m.section < high})
        if inside:
            notify.warn(
                f"sections {spans(inside)} are marked as damaged and will be learnt from; choose other sections"
            )

    def _read(self, job: TrainingJob) -> Any:
        def read(source: str) -> Volume:
            from napari_emsynth.io import read

            part: dict[str, Any] = dict(job.chosen)
            return replace(read(Path(source), job.voxel_nm, **part), name=job.data)

        return read

    def _layer_changed(self) -> None:
        layer = self.region.layer()
        self.form.suggest_name("" if layer is None else layer.name)

    def leave(self) -> None:
        """Let go of the viewer; training goes on."""
        self._redraw.stop()
        self.training.changed.disconnect(self.refresh)
        self.region.release()

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.line.setWordWrap(True)
        self.line.setMinimumWidth(60)
        for widget in (self.left, self.region, self.form, self.curves, self.panels):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.foot.addLayout(rows((self.train, self.pause, self.stop), (self.copy,)))
        self.foot.addWidget(self.bar)
        self.foot.addWidget(self.line)

    def _connect(self) -> None:
        session = self.session
        session.engine_loaded.connect(lambda: self.form.set_engine(session.engine))
        self.region.layer_changed.connect(self._layer_changed)
        self.train.clicked.connect(lambda: self.run())
        self.pause.clicked.connect(lambda: self.training.pause())
        self.stop.clicked.connect(lambda: self.training.stop())
        self.copy.clicked.connect(lambda: self.copy_code())
        self.left.go_on.clicked.connect(lambda: self.go_on_with(self.left.chosen()))
        self.left.forget.clicked.connect(lambda: self.training.forget(self.left.chosen()))
        self.training.changed.connect(self.refresh)
        self._redraw.timeout.connect(self.redraw)


class UnfinishedBox(QFrame):
    """Offers runs that were killed or stopped; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[Unfinished] = []
        self.setObjectName("emsynthUnfinished")
        self.setStyleSheet("#emsynthUnfinished { border: 1px solid #5aaae6; border-radius: 3px; }")
        self.runs = combo()
        self.go_on = button("Go on", "Train on from the last checkpoint")
        self.forget = button("Forget", "Remove the checkpoint; weights that were saved stay")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 6)
        layout.setSpacing(3)
        layout.addWidget(QLabel("Unfinished training"))
        layout.addWidget(self.runs)
        layout.addLayout(rows((self.go_on, self.forget)))
        self.hide()

    def show_runs(self, runs: list[Unfinished]) -> None:
        """Offer these."""
        self._runs = runs
        self.runs.clear()
        self.runs.addItems([run.describe() for run in runs])
        self.setVisible(bool(runs))

    def chosen(self) -> Unfinished:
        """Return the chosen run."""
        return self._runs[int(self.runs.currentIndex())]
