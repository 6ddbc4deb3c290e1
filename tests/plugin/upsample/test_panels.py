"""What the Upsample z dock asks and says, part by part; no viewer is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.methods.upsample.lattice import ISOTROPIC, Lattice, isotropic_factor
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.layers.voxel_size import guessed_nm, parse_voxel_nm
from napari_emsynth.plugin.upsample.dock import report, scores
from napari_emsynth.plugin.upsample.factor import FactorRow
from napari_emsynth.plugin.upsample.sampling import SamplingQuestion, picture
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.code import volume_code, volume_command
from napari_emsynth.plugin.volume_task.damage_form import SuspectList
from napari_emsynth.plugin.volume_task.destination import MEMORY, DestinationBox, where
from napari_emsynth.plugin.volume_task.forecast import Forecast, Speed, work
from napari_emsynth.plugin.volume_task.preview import crosses, picked_voxel
from napari_emsynth.plugin.widgets.notices import remark
from napari_emsynth.trust.detect import Suspect
from napari_emsynth.volume import Volume


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("factor", [2, 2.5, 3.0178, 12])
def test_settings_say_of_the_grid_what_the_task_does(sampling: str, factor: float) -> None:
    settings = UpsampleSettings(factor=factor, sampling=sampling)
    lattice = Lattice(9, factor, sampling)
    assert settings.shape((9, 4, 5)) == (len(lattice.sections), 4, 5)
    for j in lattice.sections:
        place = j * settings.voxel((1, 1, 1))[0] + settings.offset[0]
        assert place == pytest.approx(lattice.position(j))
    part = settings.sections(slice(2, 6))
    inside = [lattice.position(j) for j in range(part.start, part.stop)]
    edge = 0 if sampling == "point" else 0.5
    assert min(inside) >= 2 - edge
    assert max(inside) <= 5 + edge
    assert settings.sections(slice(0, 9)).stop == len(lattice.sections)


def test_what_is_written_as_code() -> None:
    volume = Volume.of(np.zeros((9, 4, 5), np.uint8), voxel_nm=(30, 10, 10), name="s")
    settings = UpsampleSettings(factor=3.0, isotropic=True, damaged="3,5-6")
    assert settings.asked() == UpsampleOptions(factor=ISOTROPIC, damaged="3,5-6")
    assert "--factor isotropic --sampling point --damaged 3,5-6" in volume_command(settings, volume, "s.tif")
    plain = replace(settings, isotropic=False, damaged="")
    assert plain.asked() == UpsampleOptions(factor=3, damaged=())
    assert plain.asked().words()[-2:] == ["--damaged", "none"]
    assert UpsampleSettings().asked().damaged is None, "the task finds what is damaged beyond doubt"
    with pytest.raises(InputError, match="section 12 is outside"):
        volume_code(replace(settings, damaged="12"), volume, "s.tif")


def test_the_factor_is_chosen_or_follows_the_voxel_size(qtbot: Any) -> None:
    row = FactorRow()
    qtbot.addWidget(row)
    row.set_ready()
    changes: list[tuple[float, bool]] = []
    row.changed.connect(lambda: changes.append(row.value()))
    row.set_voxel_nm((28, 22.48, 22.48))
    assert not changes, "only what the user does is told"
    row.number.setValue(2.25)
    assert changes == [(2.25, False)]
    assert row.number.text() == "x2.25"
    for factor in (1, 13):
        row.number.setValue(factor)
        assert row.line.text() == f"factor {factor} is outside 2 to 12 output sections a section"
    row.number.stepBy(1)
    assert (row.number.value(), row.number.text()) == (12, "x12"), "steps stay within"
    row.isotropic.click()
    assert "already isotropic" in row.line.text()
    row.set_voxel_nm((40, 4.6, 4.5))
    assert row.value() == (pytest.approx(40 / 4.55), True)
    assert "become" in row.line.text()
    assert not row.number.isEnabled()
    asked: list[bool] = []
    row.voxel_size_asked.connect(lambda: asked.append(True))
    row.set_voxel_nm(None)
    assert "voxel size" in row.line.text()
    assert not asked
    row.isotropic.click()
    row.isotropic.click()
    assert asked == [True], "who asks for cubes of unknown voxels is asked for their size"
    assert not row.ask.isHidden()
    row.set_voxel_nm((100, 4, 4))
    assert "25" in row.line.text()
    row.offer((2,))
    row.set_voxel_nm((30, 10, 10))
    assert row.line.text() == "cubic voxels need x3; the chosen method does x2"
    assert row.value()[0] == 2
    for voxel in (None, (10, 10, 10), (300, 10, 10)):
        with pytest.raises(InputError) as caught:
            isotropic_factor(Grid(shape=(1, 1, 1), voxel_nm=voxel))
        assert "\n" not in str(caught.value)


def test_the_question_what_a_section_is(qtbot: Any) -> None:
    question = SamplingQuestion()
    qtbot.addWidget(question)
    answers: list[str] = []
    question.answered.connect(lambda: answers.append(question.value()))
    question.set_known(False)
    assert "Not answered" in question.question.text()
    question.cards["slab"].click()
    assert answers == ["slab"]
    assert "divided" in question.explanation.text()
    question.offer(("point",))
    assert question.value() == "point"
    assert not question.cards["slab"].isEnabled()
    question.offer(("point", "slab"))
    question.cards["slab"].click()
    assert question.value() == "slab"
    assert question.minimumSizeHint().width() <= 300


def test_sentences_are_as_high_as_their_text(qtbot: Any) -> None:
    """In a form, whatever comes and goes in other rows: nothing lies over anything, no gap stays."""
    holder = QWidget()
    qtbot.addWidget(holder)
    form, question, other = QFormLayout(holder), SamplingQuestion(), remark()
    form.addRow(question)
    form.addRow(other)
    holder.resize(285, 600)
    holder.show()
    other.setText("Something that needs two lines of a dock that is as narrow as this one is")
    for known in (False, True, False):
        question.set_known(known)
        qtbot.waitUntil(
            lambda: all(
                label.height() == label.heightForWidth(label.width())
                for label in (question.question, question.explanation, other)
            )
        )
        assert question.explanation.y() >= question.cards["point"].geometry().bottom()


def test_the_pictures_show_that_averages_are_smeared() -> None:
    """A thin sample shows the membrane sharp and dark, an average wide and pale."""
    pale = {}
    for name in ("point", "slab"):
        drawn = picture(name).toImage()
        right = range(drawn.width() - 100, drawn.width() - 10)
        greys = [drawn.pixelColor(x, y).red() for x in right for y in (14, 42, 70, 98)]
        pale[name] = sum(60 < grey < 185 for grey in greys)
    assert pale["slab"] > 2 * pale["point"]


def test_suspects_and_text_say_the_same(qtbot: Any) -> None:
    found = [Suspect(section=z, kind="blank", score=1.0, detail="constant") for z in (3, 4, 9)]
    suspects = SuspectList()
    qtbot.addWidget(suspects)
    told: list[str] = []
    suspects.ticked.connect(told.append)
    assert suspects.isHidden()
    suspects.show_suspects(found, (3, 4))
    assert suspects.sections() == [3, 4]
    assert not told
    from qtpy.QtCore import Qt

    suspects.item(2).setCheckState(Qt.CheckState.Checked)
    assert told == ["3-4,9"]
    suspects.follow("9,11")
    assert suspects.sections() == [9]
    suspects.follow("detected")
    assert suspects.sections() == [9], "a word lists nothing"
    suspects.follow("")
    assert suspects.sections() == []


def test_where_a_result_goes(qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    box = DestinationBox()
    qtbot.addWidget(box)
    for value in (("auto", False), ("memory", False), ("file", False), ("file", True)):
        box.set_value(*value)
        assert box.value() == value
    small = Forecast(shape=(4, 5, 6), voxel_nm=(10, 10, 10), bytes=10**6, seconds=3.0, free=10**9)
    large = replace(small, bytes=5 * 10**9, seconds=None, voxel_nm=None)
    assert not small.is_large
    assert large.is_large
    assert small.describe() == "Result: 4 x 5 x 6 voxels of 10 x 10 x 10 nm, 1 MB, about 3 s"
    assert large.describe() == "Result: 4 x 5 x 6 voxels, 5 GB, time: Preview tells"
    settings, asked = UpsampleSettings(), []
    monkeypatch.setattr(
        "napari_emsynth.plugin.volume_task.destination.ask_large", lambda _p, f: asked.append(f) or "file"
    )
    monkeypatch.setattr(
        "napari_emsynth.plugin.volume_task.destination.ask_file", lambda _p, name: tmp_path / name if asked else None
    )
    assert where(box, settings, small, "s") is MEMORY
    assert where(box, replace(settings, keep="memory"), large, "s") is MEMORY
    assert where(box, replace(settings, keep="file"), small, "s") is None, "the dialog was closed"
    place = where(box, settings, large, "my stack")
    assert asked == [large]
    assert place.target.path == tmp_path / "my_stack_upsampled_x2.ome.zarr"
    assert not place.target.resume


def test_speed_counts_halos() -> None:
    """A thin plane costs more a voxel than a whole: it is all halo."""
    full, halo = (100, 1000, 1000), (10.0, 32.0, 32.0)
    assert work((1, 1, 128), (1, 1, 128), halo, full) == 21 * 65 * 192
    assert work(full, full, halo, full) == 100 * 1000 * 1000, "beyond the volume there is none"
    speed = Speed.of([((1, 1, 128), 2.0), ((1, 1, 128), 0.5)], halo, full)
    assert speed is not None
    assert speed.rate == pytest.approx(21 * 65 * 192 / 0.5), "the first one built the method"
    assert speed.seconds(full, full) == pytest.approx(1e8 / speed.rate)
    assert Speed.of([((1, 1, 1), 1.0)], None, full) is None


def test_a_place_in_a_plane_is_a_voxel() -> None:
    window = Window(sections=slice(2, 8), rows=slice(10, 50), columns=slice(20, 60), section=4, cross=(30, 99))
    assert (window.row, window.column) == (30, 40), "one outside is passed over"
    voxel = (40.0, 10.0, 5.0)
    marks = crosses(window, voxel)
    assert marks == {"xy": (305.0, 202.5), "xz": (160.0, 202.5), "yz": (160.0, 305.0)}
    for name, (down, across) in marks.items():
        assert picked_voxel(name, down, across, window, voxel) == (4, 30, 40)
    assert picked_voxel("xz", 255.0, 114.0, window, voxel) == (6, 30, 22)
    assert picked_voxel("xy", -1e6, 1e6, window, voxel) == (4, 10, 59)


def test_voxel_sizes_as_people_write_them() -> None:
    for text in ("30,10,10", "30 x 10 x 10 nm", " 30 10 10"):
        assert parse_voxel_nm(text) == (30, 10, 10)
    for text in ("", "30", "thick", "0,1,1"):
        with pytest.raises(InputError):
            parse_voxel_nm(text)
    for scale, text in (((1, 1, 1), ""), ((40, 4, 4), "40, 4, 4")):
        assert guessed_nm(Image(np.zeros((2, 2, 2)), scale=scale)) == text


def test_the_report_names_every_figure() -> None:
    check = {"n": 6, "psnr": 31.25, "linear": 30.0, "linear_back_projected": 30.5, "beats_floors": True}
    assert scores(check) == (
        "Self-check on 6 hidden sections: 31.2 dB, linear 30.0 dB (+1.2), linear with back-projection 30.5 dB"
    )
    assert scores({**check, "linear_back_projected": 31.25}).endswith(
        "31.2 dB, as linear interpolation with back-projection; without 30.0 dB"
    )
    lines = report(
        {
            "residual": {"before": 2.125, "after": 0.0},
            "selfcheck": {**check, "in_plane": check},
            "calibration": {"factor": 2.3, "measured_on": "in plane"},
        }
    )
    assert [line.split()[0] for line in lines] == ["Block", "In", "The"]
    assert lines[-1].endswith("calibrated on rows posed as sections")
    assert report({}) == []
