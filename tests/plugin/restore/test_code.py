"""Copy as code: both texts, run as they are, give the dock's voxels."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_emsynth import io
from napari_emsynth.plugin.restore.code import as_code, command_line
from napari_emsynth.plugin.restore.request import RestoreRequest, Settings, restore
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

LINEAR = Settings(method="linear", device="cpu", seed=3)


@pytest.fixture
def file(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return io.write(Volume.of(stack, voxel_nm=(10, 10, 10)), tmp_path / "my stack.ome.tif")


@pytest.mark.parametrize("what", [{"sections": (2, 5, 6)}, {"inserts": (4, 4)}, {"sections": (2,), "inserts": (8,)}])
def test_both_give_the_voxels_of_the_dock(file: Path, what: dict[str, Any], tmp_path: Path) -> None:
    volume = io.read(file)
    request = RestoreRequest(**what, settings=LINEAR)
    ours = restore(volume, request, Runtime(device="cpu", seed=3)).result.volume.read(slice(None))
    text = as_code(request, volume, str(file))
    exec(compile(text, "clipboard", "exec"), {})
    out = tmp_path / "restored.ome.tif"
    np.testing.assert_array_equal(io.read(out).read(slice(None)), ours)
    out.unlink()
    from napari_emsynth.cli.app import main

    for command in command_line(request, volume, str(file)).split(" && "):
        words = shlex.split(command)
        assert words[0] == "emsynth"
        assert main(words[1:]) in (0, None)
    np.testing.assert_array_equal(io.read(out).read(slice(None)), ours)


def test_a_layer_without_a_file_says_what_to_do_first(stack: Any) -> None:
    region = np.ones((64, 72), bool)
    request = RestoreRequest(
        sections=(2,), regions={4: region}, settings=replace(LINEAR, weights="w.safetensors", tile=256)
    )
    text = as_code(request, Volume.of(stack, name="my stack"), None)
    assert "export layer 'my stack' to my_stack.tif first" in text
    assert "--mask mask.tif" in text
    assert "--weights w.safetensors" in text
    assert "tile=256" in text
    assert sum(line.startswith("# emsynth interpolate") for line in text.splitlines()) == 1
