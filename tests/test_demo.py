"""The demo writes everything it promises, and its scores are those of real repairs."""

import importlib.util
import json
import sys
from pathlib import Path

import napari_emsynth as es
from napari_emsynth import samples

SCRIPT = Path(__file__).parents[1] / "scripts" / "demo.py"


def test_demo(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    monkeypatch.setattr(sys, "argv", ["demo.py", str(tmp_path / "demo"), "--no-window"])
    assert demo.main() == 0
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {
        "mended.ome.tif", "mended.ome.zarr", "synthetic.ome.tif", "demo.png", "scores.md", "scores.json",
    }  # fmt: skip
    scores = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert [row["section"] for row in scores["sections"]] == [plant.section for plant in samples.planted()]
    assert scores["mean"]["emsynth"]["psnr"] > scores["mean"]["nearest"]["psnr"] + 1
    assert es.read(tmp_path / "demo" / "mended.ome.zarr").shape == samples.damaged().shape
    assert "NOT FOUND" not in capsys.readouterr().out
