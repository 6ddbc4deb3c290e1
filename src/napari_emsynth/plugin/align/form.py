"""What alignment asks beside the method: how far, what stays, what is left out, what may tear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QWidget

from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.layers.convert import type_of
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.volume_task.form import VolumeForm
from napari_emsynth.plugin.widgets.buttons import beside, form_of, small
from napari_emsynth.plugin.widgets.collapsible import Collapsible
from napari_emsynth.plugin.widgets.layer_box import LayerBox

NO_LIMIT = "no limit"
MOST_NM = 1e6
MATERIALS_TIP = "A labels layer of the stack's shape that says where the tissue may tear, and where there is none"
PROMISE = "Moves pixels, draws none: what comes from outside a section is empty."


class AlignForm(VolumeForm):
    """A form that speaks one value, :class:`AlignSettings`; limits are offered where the method knows them.

    Args:
        settings: to start with.
        session: whose labels layers are offered as materials.

    Signals:
        reference_asked: the section on screen is to be the reference.
        detection_asked: the sections to skip are to be detected and listed.
    """

    reference_asked = Signal()
    detection_asked = Signal()

    def __init__(self, settings: AlignSettings, session: Session) -> None:
        self._session = session
        self._voxel_nm: tuple[float, float, float] | None = None
        super().__init__(settings)

    def set_voxel_nm(self, voxel_nm: tuple[float, float, float] | None) -> None:
        """Offer a limit in nm only where a px has a size."""
        self._voxel_nm = voxel_nm
        self.limit.setEnabled(voxel_nm is not None)
        self.limit.setToolTip(
            "Move nothing further than this"
            if voxel_nm is not None
            else "Needs the voxel size: set the layer's scale and its units (nm)"
        )
        self._show_px()

    def value(self) -> AlignSettings:
        """Return what the form says; what the chosen method does not know is at its default."""
        given: AlignSettings = super().value()
        if not self.knows_limits():
            plain = AlignSettings()
            return replace(given, max_displacement_nm=None, reference=plain.reference, skip=plain.skip, materials=None)
        limit = self.limit.value() if self.limit.isEnabled() and self.limit.value() > 0 else None
        return replace(
            given,
            max_displacement_nm=limit,
            reference=self.reference.text().strip(),
            skip=self.skip.text().strip(),
            materials=self.materials.currentData(),
            tears=self.tears.text().strip(),
            ignored=self.ignored.text().strip(),
        )

    def set_value(self, settings: AlignSettings) -> None:
        """Show other settings; nothing is emitted."""
        super().set_value(settings)
        self._busy = True
        try:
            self.limit.setValue(settings.max_displacement_nm or 0.0)
            self.materials.choose(settings.materials)
            for name in ("reference", "skip", "tears", "ignored"):
                box = getattr(self, name)
                if box.text().strip() != getattr(settings, name):
                    box.setText(getattr(settings, name))
            self._show_labels()
        finally:
            self._busy = False

    def knows_limits(self) -> bool:
        """True while the chosen method is not known to redraw voxels."""
        spec = self.spec()
        return spec is None or spec.answers == "displacement"

    def promise(self) -> str:
        """Return what must be known of the chosen method before it runs."""
        spec = self.spec()
        return PROMISE if spec is not None and spec.answers == "displacement" else super().promise()

    def release(self) -> None:
        """Stop following the viewer."""
        self.materials.release()

    # -- inside ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        super()._lay_out()
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0.0, MOST_NM)
        self.limit.setDecimals(1)
        self.limit.setSingleStep(10.0)
        self.limit.setSpecialValueText(NO_LIMIT)
        self.limit.setKeyboardTracking(False)
        self.rows.addRow("Limit", self.limit)
        self.reference, self.skip, self.tears, self.ignored = (QLineEdit() for _ in range(4))
        self.materials = LayerBox(self._session, labels_layers, nothing="none: all is tissue")
        self.here = small("here", "Take the section on screen")
        self.detect = small("detect", "Look for damaged sections now and list them")
        self.bounds = Collapsible("What stays, what is left out", self._bounds_rows())
        self.layout().insertWidget(self.layout().indexOf(self.more), self.bounds)

    def _bounds_rows(self) -> QWidget:
        inside = QWidget()
        self.bound_rows = form_of(inside)
        self.reference.setPlaceholderText("none; 12 or 12-14")
        self.reference.setToolTip("Sections that stay where they are, voxel for voxel")
        self.skip.setPlaceholderText(f"none; {DETECTED}, or 3,40-42")
        self.skip.setToolTip(
            f"Sections that nothing is laid upon and that move with their neighbours; {DETECTED!r} takes what "
            "looks damaged"
        )
        self.materials.setToolTip(MATERIALS_TIP)
        self.tears.setToolTip("Labels that mean a fold or a crack: there the tissue may tear")
        self.ignored.setToolTip("Labels that mean dirt or emptiness: it is not looked at")
        self.bound_rows.addRow("Reference", beside(self.reference, self.here))
        self.bound_rows.addRow("Skip", beside(self.skip, self.detect))
        self.bound_rows.addRow("Materials", self.materials)
        self.bound_rows.addRow("  folds, cracks", self.tears)
        self.bound_rows.addRow("  dirt, empty", self.ignored)
        return inside

    def _connect(self) -> None:
        super()._connect()
        self.limit.valueChanged.connect(lambda _v: self._limit_changed())
        self.materials.layer_changed.connect(self._materials_changed)
        for line in (self.reference, self.skip, self.tears, self.ignored):
            line.textChanged.connect(lambda _text: self._changed())
        self.here.clicked.connect(lambda: self.reference_asked.emit())
        self.detect.clicked.connect(lambda: self.detection_asked.emit())

    def _limit_changed(self) -> None:
        self._show_px()
        self._changed()

    def _materials_changed(self) -> None:
        self._show_labels()
        self._changed()

    def _show_px(self) -> None:
        """Say beside the limit how many px it is."""
        nm, size = self.limit.value(), self._voxel_nm
        px = f" = {nm / size[2]:.1f} px" if size is not None and nm > 0 else ""
        self.limit.setSuffix(f" nm{px}")

    def _show_labels(self) -> None:
        for line in (self.tears, self.ignored):
            self.bound_rows.setRowVisible(line, self.materials.currentData() is not None)

    def _show_method(self, settings: Any) -> None:
        super()._show_method(settings)
        self.rows.setRowVisible(self.limit, self.knows_limits())
        self.bounds.setVisible(self.knows_limits())


def labels_layers(viewer: Any) -> list[Any]:
    """Return the labels layers, the topmost first."""
    return [layer for layer in reversed(list(viewer.layers)) if type_of(layer) == "labels"]
