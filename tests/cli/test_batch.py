"""``emsynth batch``: every row is run, whatever becomes of the others."""

import re

import numpy as np
import pytest

import napari_emsynth as es


@pytest.fixture
def table(tmp_path, stack):
    def write(*rows, head="task,in,out,sections,factor,method,insert"):
        lines = [row.format(stack=stack, folder=tmp_path) for row in rows]
        path = tmp_path / "jobs.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8-sig")
        return path

    return write


GOOD = 'interpolate,{stack},{folder}/a.zarr,"5,7",,linear,'
INSERT = "interpolate,{stack},{folder}/b.tif,3,,linear,yes"
LOST = "upsample,{folder}/nothing.tif,{folder}/c.zarr,,2,linear,"
BAD = "upsample,{stack},{folder}/d.zarr,,99,linear,"
FINE = "upsample,{stack},{folder}/e.zarr,,2,linear,"


def test_one_that_fails_does_not_stop_the_others(table, tmp_path, emsynth, stack):
    answer = emsynth("batch", table(GOOD, INSERT, LOST, BAD, FINE), "--report", tmp_path / "report", "--json")
    assert answer.code == 1
    jobs = answer.json["jobs"]
    assert [job["state"] for job in jobs] == ["done", "done", "failed", "failed", "done"]
    assert [job["line"] for job in jobs] == [2, 3, 4, 5, 6]
    assert "nothing.tif does not exist" in jobs[2]["said"]
    assert "99" in jobs[3]["said"]
    assert jobs[0]["answer"]["sections"] == [5, 7]
    alone = es.interpolate(es.read(stack), [5, 7], method="linear").volume
    assert np.array_equal(es.read(tmp_path / "a.zarr").data[:], alone.read(slice(None)))
    assert es.read(tmp_path / "b.tif").shape == (17, 96, 96)
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<tr class=") == 5
    assert page.count("data:image/png;base64,") == 3
    assert "5 of 5 jobs were run, 2 failed." in page
    assert re.search(r"nothing\.tif does not exist", page)


def test_all_well(table, emsynth):
    answer = emsynth("batch", table(GOOD, FINE))
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "2 done"


def test_it_goes_on_where_it_was(table, tmp_path, emsynth):
    assert emsynth("batch", table(GOOD)).code == 0
    changed = (tmp_path / "a.zarr" / "zarr.json").stat().st_mtime_ns
    answer = emsynth("batch", table(GOOD, FINE), "--resume", "--json")
    assert answer.code == 0
    assert [job["state"] for job in answer.json["jobs"]] == ["was there", "done"]
    assert (tmp_path / "a.zarr" / "zarr.json").stat().st_mtime_ns == changed
    assert [job["state"] for job in emsynth("batch", table(GOOD, FINE), "--json").json["jobs"]] == ["failed"] * 2


def test_what_a_cell_says_is_shown_as_text(table, tmp_path, emsynth):
    emsynth("batch", table("upsample,<b>x</b>.tif,{folder}/c.zarr,,2,linear,"), "--report", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;x" in page


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "has no row below its header"),
        (("melt,{stack},{folder}/a.zarr,,,,",), "line 2 asks for 'melt', which is none of interpolate"),
        ((GOOD, ",{stack},{folder}/b.zarr,,,,"), "line 3 asks for ''"),
        (("interpolate,,{folder}/a.zarr,3,,,",), "line 2 names no IN"),
        (("interpolate,{stack},,3,,,",), "line 2 names no OUT"),
        ((GOOD, GOOD), "lines 2 and 3 both write"),
        (("interpolate,{stack}",), "line 2 has another number of cells"),
        (("interpolate,{stack},{folder}/a.zarr,3,,,,,more",), "line 2 has another number of cells"),
    ],
)
def test_tables_that_are_refused_before_anything_is_run(table, refused, rows, said):
    assert said in refused("batch", table(*rows))


def test_files_that_are_no_table(tmp_path, refused, table):
    assert "cannot be read as a table" in refused("batch", tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_bytes(bytes(range(256)))
    assert "cannot be read as a table" in refused("batch", tmp_path / "odd.csv")
    assert "has no column 'out'" in refused("batch", table("a,b", head="task,in"))
    (tmp_path / "file").write_text("")
    assert "needs a folder" in refused("batch", table(GOOD), "--report", tmp_path / "file")
