"""What the Fine alignment dock shows of an alignment, and what goes along with it, in the real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_emsynth import io
from napari_emsynth.fields.apply import moved, outside
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.fields import FIELD_SUFFIXES
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.methods.align.stack.alignment import SectionReport
from napari_emsynth.plugin.align.dock import FineAlignment
from napari_emsynth.plugin.align.section_table import COLUMNS, SectionTable
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.field_of_view import window_in_view
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.volume_task.layers import build_volume_layers, placed
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.spec import Result
from napari_emsynth.volume import Volume

FLOW = AlignSettings(method="optical-flow", device="cpu", selfcheck=False)
SPACE: dict[str, Any] = {"scale": (4, 2, 2), "units": ["nm"] * 3}


def entries(count: int) -> list[dict[str, Any]]:
    """Sections as a record says: the first has nobody before it, one was left out, one has failed pairs."""
    reports = [
        SectionReport(
            section=z, shift_px=(0.5 * z, 0.0), max_px=10.0 - z, confidence=0.9 - 0.1 * (z == 3),
            cpc_before=float("nan") if z == 0 else 0.5, cpc_after=float("nan") if z == 0 else 0.5 + 0.02 * z,
            failed=("3 to 1: no overlap", "3 to 0: blank") if z == 3 else (), skipped="blank" if z == 2 else "",
        )
        for z in range(count)
    ]  # fmt: skip
    return [report.to_json() | {"treatment": "moved"} for report in reports]


def outcome_of(volume: Volume) -> VolumeOutcome:
    """A hand-made alignment: every section goes up by as many px as its number, halved."""
    nodes = np.zeros((volume.shape[0], 2, 4, 5), np.float32)
    nodes[:, 0] = np.arange(volume.shape[0])[:, None, None] / 2
    field = Displacement(nodes, volume.shape, volume.grid.voxel_nm)
    record = {"task": "align", "method": "by hand", "sections": entries(volume.shape[0]), "notices": ["look at 3"]}
    result = Result(
        volume=moved(volume, field, "cubic"), synthetic=outside(field, volume), displacement=field,
        confidence=np.full(nodes[:, 0].shape, 0.8, np.float32), provenance=record,
    )  # fmt: skip
    return VolumeOutcome(settings=FLOW, result=result, source=volume)


@pytest.fixture
def dock(raw_viewer: Any, finish: Callable[..., None], stack: Any) -> Iterator[Any]:
    """The dock on a stack that was aligned by hand."""
    session = install(raw_viewer).session
    layer = raw_viewer.add_image(stack, name="stack", contrast_limits=(0, 200), **SPACE)
    dock = FineAlignment(raw_viewer)
    raw_viewer.window.add_dock_widget(dock, name="Fine alignment")
    finish(session)
    dock.task.set_settings(FLOW)
    made = outcome_of(Volume.of(stack, voxel_nm=(4, 2, 2), name="stack"))
    layers = build_volume_layers(made, placed(layer, FLOW))
    dock.task.show((layer.unique_id, layer.name), QueuedJob("By hand", lambda _job: None), (made, layers))
    finish(session)
    yield dock
    dock.leave()
    session.close()


def names(dock: Any) -> list[str]:
    return [layer.name for layer in dock.session.viewer.layers]


def choose(box: Any, data: str) -> None:
    box.setCurrentIndex(box.findData(data))
    box.activated.emit(box.currentIndex())


def test_the_table_lists_every_section_and_every_failed_pair(qtbot: Any) -> None:
    table = SectionTable()
    qtbot.addWidget(table)
    table.set_entries(entries(6))
    text = lambda row, column: table.sorted.index(row, column).data()  # noqa: E731
    titles = [c.title for c in COLUMNS]
    assert table.sorted.rowCount() == 6
    assert [text(4, k) for k in range(len(COLUMNS))] == ["4", "2.00", "6.00", "0.50", "0.58", "0.90", ""]
    assert text(0, titles.index("CPC")) == "–"
    assert text(3, titles.index("fail")) == "2"
    assert "3 to 1: no overlap" in table.failed.toPlainText()
    assert "3 to 0: blank" in table.failed.toPlainText()
    assert "blank" in table.sorted.index(2, 0).data(Qt.ItemDataRole.ToolTipRole)
    table.view.sortByColumn(titles.index("after"), Qt.SortOrder.AscendingOrder)
    assert [text(row, 0) for row in range(6)] == ["0", "1", "2", "3", "4", "5"], "the unknown is below all"
    table.view.sortByColumn(titles.index("max"), Qt.SortOrder.AscendingOrder)
    assert [text(row, 0) for row in range(6)] == ["5", "4", "3", "2", "1", "0"]
    chosen: list[int] = []
    table.section_chosen.connect(chosen.append)
    table.view.clicked.emit(table.sorted.index(0, 3))
    assert chosen == [5]
    table.set_entries(entries(5000))
    assert table.sorted.rowCount() == 5000


def test_the_table_follows_the_alignment(dock: Any) -> None:
    assert dock.parts["sections"].isExpanded()
    assert dock.table.model.rowCount() == 12
    dock.table.section_chosen.emit(9)
    assert dock.session.viewer.dims.point[0] == 36
    assert names(dock) == ["stack", "stack aligned", "stack aligned synthetic"]
    assert dock.session.viewer.layers["stack aligned synthetic"].visible, "only what came from outside is tinted"
    dock.table.view.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    dock.session.results_changed.emit()
    assert dock.table.sorted.index(0, 0).data() == "11", "the order stays"
    dock.history.undo.click()
    assert dock.table.model.rowCount() == 0
    dock.history.redo.click()
    assert dock.table.model.rowCount() == 12
    for fold in (*dock.parts.values(), dock.form.bounds):
        fold.expand()
    bar = dock.scroll.verticalScrollBar().sizeHint().width()
    assert dock.scroll.widget().minimumSizeHint().width() + bar <= 320, "nothing is cut off in a narrow dock"


def test_views_come_and_go(dock: Any, finish: Any, told: list[str]) -> None:
    viewer, panel = dock.session.viewer, dock.views
    before = names(dock)
    choose(panel.displacement, "arrows")
    finish(dock.session)
    arrows = viewer.layers[-1]
    assert arrows.name.startswith("stack aligned arrows x")
    assert tuple(arrows.scale) == (4, 2, 2)
    choose(panel.displacement, "grid")
    finish(dock.session)
    assert panel.displacement.currentData() == "grid", "changing the view does not switch it off"
    assert [n for n in names(dock) if "arrows" in n] == []
    panel.confidence.click()
    finish(dock.session)
    assert "stack aligned confidence" in names(dock)
    choose(panel.neighbours, "red/green")
    choose(panel.neighbours, "squares")
    assert panel.neighbours.currentData() == "squares"
    assert names(dock)[-2:] == ["stack squares neighbours", "stack aligned squares neighbours"]
    dock.session.compare(True)
    assert [viewer.layers[k].visible for k in (-2, -1)] == [True, False], "the original's overlay lies below"
    dock.session.compare(False)
    offered = [dock.layer_box.itemText(i) for i in range(dock.layer_box.count())]
    assert offered == ["stack aligned", "stack"], "a view is nobody's source"
    choose(panel.neighbours, "")
    choose(panel.displacement, "")
    panel.confidence.click()
    assert names(dock) == before
    choose(panel.displacement, "arrows")
    finish(dock.session)
    dock.history.undo.click()
    assert names(dock) == ["stack"], "views go with their alignment"
    assert panel.displacement.currentIndex() == 0
    choose(panel.displacement, "grid")
    assert "no alignment by displacements" in told[-1]


def test_layers_go_along_and_to_files(dock: Any, finish: Any, stack: Any, tmp_path: Path, told: list[str]) -> None:
    viewer, session = dock.session.viewer, dock.session
    ids = (stack > 120).astype(np.uint16) * 700
    labels = viewer.add_labels(ids.copy(), name="cells", **SPACE)
    points = viewer.add_points(np.array([[4, 20.0, 30.0]]), name="synapses", features={"id": [8]}, **SPACE)
    square = np.array([[6, 20, 20], [6, 20, 30], [6, 30, 30], [6, 30, 20]], float)
    shapes = viewer.add_shapes([square], shape_type="rectangle", name="region", **SPACE)
    dock.linked.apply_to_ticked()
    assert told[-1].startswith("no layer is ticked")
    dock.linked.tick([viewer.layers["stack"].unique_id])
    dock.linked.apply_to_ticked()
    assert told[-1].startswith("only the stack itself is ticked")
    dock.parts["sections"].collapse()
    dock.linked.tick([layer.unique_id for layer in (labels, points, shapes)])
    dock.linked.apply.click()
    finish(session)
    assert {"cells aligned", "synapses aligned", "region aligned"} <= set(names(dock))
    np.testing.assert_array_equal(viewer.layers["cells aligned"].data[4][:-2], ids[4][2:])
    assert set(np.unique(viewer.layers["cells aligned"].data)) == {0, 700}
    np.testing.assert_allclose(viewer.layers["synapses aligned"].data, [[4, 18, 30]], atol=1e-3)
    np.testing.assert_array_equal(labels.data, ids)
    assert not dock.parts["sections"].isExpanded(), "what the user closed stays closed"
    count = len(viewer.layers)
    dock.history.undo.click()
    assert len(viewer.layers) == count - 3, "one step"
    dock.linked.tick([viewer.layers["stack"].unique_id, labels.unique_id, points.unique_id])
    dock.linked.export_to(tmp_path)
    finish(session)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"stack_aligned.ome.tif", "cells_aligned.ome.tif", "synapses_aligned.csv"}
    made = io.read(tmp_path / "cells_aligned.ome.tif")
    np.testing.assert_array_equal(made.section(4)[:-2], ids[4][2:])
    assert made.grid.voxel_nm == pytest.approx((4, 2, 2))
    assert io.read_provenance(tmp_path / "cells_aligned.ome.tif")["carried"]["interpolation"] == "nearest"
    np.testing.assert_array_equal(
        io.read(tmp_path / "stack_aligned.ome.tif").read(slice(None)), viewer.layers["stack aligned"].data
    )
    dock.linked.export_to(tmp_path)
    assert "exists" in told[-1]
    dock.copy.click()
    text = QApplication.clipboard().text()
    assert "es.write(result.apply(es.read('cells.tif', labels=True)), 'cells_aligned.ome.tif')" in text
    assert "--apply-to cells.tif=cells_aligned.ome.tif" in text


def test_a_field_is_kept_and_taken_up_again(dock: Any, finish: Any, tmp_path: Path, told: list[str]) -> None:
    viewer = dock.session.viewer
    source = viewer.layers["stack"]
    dock.task.save_field(source, tmp_path / "field.zarr")
    finish(dock.session)
    wanted = viewer.layers["stack aligned"].data
    dock.history.undo.click()
    dock.task.save_field(source, tmp_path / "other.zarr")
    assert "no alignment by displacements" in told[-1]
    dock.task.load_field(source, tmp_path / "field.zarr")
    finish(dock.session)
    np.testing.assert_array_equal(viewer.layers["stack aligned"].data, wanted)
    assert dock.table.model.rowCount() == 12, "what the field's record says of the sections"
    dock.views.confidence.click()
    assert "no confidence" in told[-1]
    assert not dock.views.confidence.isChecked()
    small = viewer.add_image(np.zeros((12, 64, 40), np.uint8), name="small", contrast_limits=(0, 1), **SPACE)
    dock.task.load_field(small, tmp_path / "field.zarr")
    finish(dock.session)
    assert "does not fit" in told[-1]


@pytest.mark.parametrize("suffix", [suffix for suffix in FIELD_SUFFIXES if suffix != ".zarr"])
def test_a_field_goes_through_the_formats_of_others(dock: Any, finish: Any, tmp_path: Path, suffix: str) -> None:
    source = dock.session.viewer.layers["stack"]
    wanted = dock.session.viewer.layers["stack aligned"].data
    dock.task.save_field(source, tmp_path / f"field{suffix}")
    finish(dock.session)
    dock.history.undo.click()
    dock.task.load_field(source, tmp_path / f"field{suffix}")
    finish(dock.session)
    again = dock.session.viewer.layers["stack aligned"].data
    assert np.abs(again.astype(int) - wanted).max() <= 1


def test_preview_run_and_self_test(dock: Any, finish: Any, stack: Any, told: list[str]) -> None:
    session, viewer = dock.session, dock.session.viewer
    source = viewer.layers["stack"]
    dock.layer_box.choose(source.unique_id)
    dock.form.reference.setText("5")
    dock.form.limit.setValue(3.0)
    assert dock.form.limit.text().endswith("nm = 1.5 px")
    assert dock.task.settings.asked() == AlignOptions(
        method="optical-flow", max_displacement_nm=3.0, reference="5", selfcheck=False
    )
    viewer.dims.set_point(0, 4 * 5)
    dock.look.click()
    finish(session)
    assert window_in_view(viewer, source, 5).sections == slice(3, 8)
    before, after = dock.reslices.panes["red/green"]
    assert before.picture.pixels.shape == after.picture.pixels.shape == (64, 72, 3)
    np.testing.assert_array_equal(before.picture.pixels[..., 0], after.picture.pixels[..., 0], "the reference stays")
    choose(dock.plane, "red/green")
    assert [name for name, pair in dock.reslices.panes.items() if not pair[0].isHidden()] == ["xz", "yz", "red/green"]
    dock.run()
    finish(session)
    result = session.shown[-1].result
    np.testing.assert_array_equal(result.volume.data[5], stack[5])
    assert max(result.displacement.largest_px()) * 2 <= 3.0
    assert result.provenance["constraints"]["reference"] == [5]
    np.testing.assert_array_equal(source.data, stack)
    dock.task.run(viewer.layers[names(dock).index("stack aligned [1]")])
    finish(session)
    assert "upon" in session.shown[-1].result.provenance
    assert session.shown[-1].outcome.source.name == "stack"
    dock.layer_box.choose(session.shown[-1].layer_id)
    dock.copy.click()
    text = QApplication.clipboard().text()
    assert 'result = es.align(es.apply_field(volume, first, "cubic"), max_displacement_nm=3.0' in text
    assert "emsynth align stack.tif aligned.ome.tif --max-displacement-nm 3" in text
    assert "--from-displacement" in text
    dock.selftest.button.click()
    finish(session)
    assert dock.task.last_self_test["method"] == "optical-flow"
    assert "EqE" in dock.selftest.figures.text()


def test_the_form_offers_limits_where_the_method_knows_them(dock: Any) -> None:
    form, viewer = dock.form, dock.session.viewer
    labels = viewer.add_labels(np.zeros((12, 64, 72), np.uint8), name="folds", **SPACE)
    other = replace(
        FLOW, max_displacement_nm=80.0, reference="1", skip="", materials=labels.unique_id, tears="3", ignored="4-5",
        params={"neighbours": 2},
    )  # fmt: skip
    form.set_value(other)
    assert form.value() == other
    dock.task.set_settings(other)
    dock.copy.click()
    text = QApplication.clipboard().text()
    assert "materials=es.read('materials.tif', labels=True)" in text
    assert "--reference 1 --skip none --method optical-flow --neighbours 2" in text
    assert text.rstrip().endswith("--materials materials.tif")
    form.set_voxel_nm(None)
    assert not form.limit.isEnabled()
    assert form.value().max_displacement_nm is None
    form.method.setCurrentIndex(form.method.findData("jain2017"))
    form.method.activated.emit(form.method.currentIndex())
    assert form.value().asked() == AlignOptions(method="jain2017", selfcheck=False)
    assert form.bounds.isHidden()
    assert "edraws" in form.promise_line.text()
    viewer.layers.remove(labels)
    assert form.materials.currentData() is None
