"""What the plugin knows of one task on whole volumes in one viewer before it is run: settings, the last preview.

It belongs to the viewer's session, whose queue it uses, so that a closed dock loses nothing.
Law: bad input ends in one line to the user, never in an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Self, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.detection import detection
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import Placement, volume_of
from napari_emsynth.plugin.layers.field_of_view import Window, window_in_view
from napari_emsynth.plugin.viewer.session import Session, ready
from napari_emsynth.plugin.volume_task.forecast import Forecast, Speed, speed_key
from napari_emsynth.plugin.volume_task.preview import Plane, drawn, preview
from napari_emsynth.plugin.volume_task.run import free_memory, voxel_bytes
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.spec import Task
from napari_emsynth.volume import Volume

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Suspect

T = TypeVar("T")


@dataclass(frozen=True)
class Previewed:
    """A preview and what it is of.

    Args:
        planes: xy, xz, yz; before and after.
        window: of the layer.
        settings: it was made with.
        look: of the layer, see :class:`~napari_emsynth.plugin.layers.convert.Placement`.
        layer_id: of the layer.
        voxel: size of the layer's voxels (z, y, x), in its own units.
    """

    planes: list[Plane]
    window: Window
    settings: VolumeSettings
    look: dict[str, Any]
    layer_id: Any
    voxel: tuple[float, float, float]


class PreviewTask(QObject):
    """One task in one viewer, as far as it is looked at.

    Signals:
        settings_changed: by someone else than the form.
        previewed: a preview is ready.
        noticed: lines the user must be told (may be empty), and the method that did better, or "".
    """

    settings_changed = Signal()
    previewed = Signal(object)
    noticed = Signal(list, str)

    @classmethod
    def of(cls, session: Session, start: VolumeSettings) -> Self:
        """Return the session's task of this kind, made with ``start`` on first use."""
        found = session.findChild(cls, start.task)
        return found if found is not None else cls(session, start)

    def __init__(self, session: Session, start: VolumeSettings) -> None:
        super().__init__(session)
        self.setObjectName(start.task)
        # The user's preferences hold for every task, but for the method.
        self.settings = replace(start, **session.preferences.common())
        # The preview follows the view.
        self.auto_preview = False
        # What stands in the dock is a refusal.
        self._is_refused = False
        # Row and column of the reslices, by the layer's unique id.
        self.crosses: dict[Any, tuple[int, int]] = {}
        self.speeds: dict[Any, Speed] = {}
        self.last_preview: Previewed | None = None

    @property
    def session(self) -> Session:
        """The viewer's session; not kept, it owns us."""
        session: Session = self.parent()
        return session

    @property
    def name(self) -> Task:
        """The task's name, which marks its jobs."""
        return self.settings.task

    def set_settings(self, settings: VolumeSettings) -> None:
        """Take new settings and tell who shows them."""
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()

    # -- telling -----------------------------------------------------------------------------------

    def refuse(self, line: str) -> None:
        """Tell the user, in one line, that something cannot be done."""
        notify.warn(line)
        self._is_refused = True
        self.noticed.emit([line], "")

    def attempt(self, act: Callable[..., T], *args: Any) -> T | None:
        """Do something that bad input may stop; return None when it did, after telling the user."""
        try:
            return act(*args)
        except InputError as reason:
            self.refuse(str(reason))
            return None

    def submit(self, prepare: Callable[[], QueuedJob]) -> QueuedJob | None:
        """Queue what is prepared; None when bad input stops it, after telling the user."""
        job = self.attempt(prepare)
        return None if job is None else self.session.queue.submit(job)

    def volume(self, layer: Any, channel: int | None) -> Volume:
        """Return a layer's voxels.

        Raises:
            InputError: not a stack of enough sections.
        """
        volume = volume_of(layer, channel)
        least = self.settings.least_sections
        if volume.shape[0] < least:
            raise InputError(
                f"layer {layer.name!r} has {volume.shape[0]} section(s) along z; the limit is {least} sections"
            )
        return volume

    def fitted(self, settings: VolumeSettings, volume: Volume) -> VolumeSettings:  # noqa: ARG002 - for others
        """Return settings as they are for a volume.

        Raises:
            InputError: they do not go with it.
        """
        return settings

    def asked(self, layer: Any, channel: int | None = None) -> tuple[Volume, VolumeSettings]:
        """Return a layer's voxels, and the settings as they are for them.

        Raises:
            InputError: not a stack of enough sections, settings that do not go with it.
        """
        volume = self.volume(layer, channel)
        return volume, self.fitted(self.settings, volume)

    def forecast(self, layer: Any, channel: int | None = None) -> Forecast | None:
        """Return what a run will take; None where it cannot be told yet, or would be refused."""
        engine = self.session.engine
        try:
            volume, settings = self.asked(layer, channel)
        except InputError:
            return None
        spec = None if engine is None else engine.spec(settings.method, self.name)
        if spec is None:
            return None
        shape, speed = settings.shape(volume.shape), self.speeds.get(speed_key(settings))
        voxel = volume.grid.voxel_nm
        return Forecast(
            shape=shape,
            voxel_nm=None if voxel is None else settings.voxel(voxel),
            bytes=voxel_bytes(volume, spec) * prod(shape),
            seconds=None if speed is None else speed.seconds(shape, settings.block()),
            free=free_memory(),
        )

    def inputs(self, volume: Volume, settings: VolumeSettings) -> dict[str, Any]:  # noqa: ARG002 - for others
        """Return keyword arguments of the task's function that come from other layers.

        Raises:
            InputError: a layer that does not fit.
        """
        return {}

    # -- work --------------------------------------------------------------------------------------

    def preview(
        self, layer: Any, sections: int, channel: int | None = None, *, unasked: bool = False
    ) -> QueuedJob | None:
        """Show what the task would make of the part in view; return None when it is refused.

        Args:
            layer: the chosen one.
            sections: how many of them, around the one on screen.
            channel: of a 4-D layer.
            unasked: the view changed, and nobody asked: without a bar, and what is refused is said in the dock only.
        """
        refuse = self._not_previewed if unasked else self.refuse

        def prepare() -> QueuedJob:
            volume, settings = self.asked(layer, channel)
            cross = self.crosses.get(layer.unique_id)
            edge = settings.preview_edge
            window = window_in_view(self.session.viewer, layer, sections, edge, cross)
            z, y, x = (abs(float(s)) for s in layer.scale[-3:])
            look, more = Placement.of(layer).look, self.inputs(volume, settings)
            limits = tuple(look["contrast_limits"]) if settings.compares_neighbours else None
            speeds: list[Speed] = []

            def work(job: QueuedJob) -> Previewed:
                ready(job)
                from napari_emsynth.methods.working import working

                runtime = job.runtime(**settings.runtime_options())
                with working(window.pixels):
                    drawing = drawn(volume, settings, window, runtime, more)
                    planes = preview(
                        volume, settings, window, (z, y, x), drawing, runtime, limits=limits, told=speeds.append
                    )
                return Previewed(planes, window, settings, look, layer.unique_id, (z, y, x))

            def done(made: Previewed) -> None:
                self.speeds.update({speed_key(settings): speed for speed in speeds})
                self.last_preview = made
                self.previewed.emit(made)
                if self._is_refused:
                    # What was in the way has gone.
                    self._is_refused = False
                    self.noticed.emit([], "")

            key = f"preview {self.name}"
            return QueuedJob("Preview", work, on_done=done, on_failed=refuse, key=key, owner=self.name, quiet=unasked)

        try:
            return self.session.queue.submit(prepare())
        except InputError as reason:
            refuse(str(reason))
            return None

    def _not_previewed(self, line: str) -> None:
        self._is_refused = True
        self.noticed.emit([line], "")

    def detect(self, layer: Any, channel: int | None, then: Callable[[list[Suspect]], None]) -> QueuedJob | None:
        """Look for damaged sections; ``then`` is given what was found, and the user a line."""
        volume = self.attempt(self.volume, layer, channel)
        if volume is None:
            return None
        return self.session.queue.submit(detection(volume, then, self.refuse, self.name))
