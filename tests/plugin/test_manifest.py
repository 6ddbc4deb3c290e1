"""The manifest: every command exists, every menu shows it, preferences are read, nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import npe2
import numpy as np
import pytest

import napari_emsynth
from napari_emsynth.plugin import commands
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.preferences import PLUGIN, preferences
from napari_emsynth.plugin.viewer.session import Session

FILE = Path(napari_emsynth.__file__).parent / "napari.yaml"


def manifest() -> npe2.PluginManifest:
    return npe2.PluginManifest.from_file(FILE)


def test_every_command_exists() -> None:
    for command in manifest().contributions.commands:
        module, name = command.python_name.split(":")
        __import__(module)
        assert callable(getattr(sys.modules[module], name)), command.id


def test_menus() -> None:
    menus = {menu: [item.command for item in items] for menu, items in manifest().contributions.menus.items()}
    assert menus["napari/layers/data"][0] == f"{PLUGIN}.interpolate_section"
    assert set(menus) == {
        "napari/layers/filter", "napari/layers/data", "napari/layers/annotate", "napari/layers/register",
        "napari/file/io_utilities",
    }  # fmt: skip
    assert {f"{PLUGIN}.upsample", f"{PLUGIN}.superres"} <= set(menus["napari/layers/data"])
    assert menus["napari/layers/register"] == [f"{PLUGIN}.align"]
    from napari._app_model.constants import MenuId

    assert set(menus) <= {str(menu) for menu in MenuId.contributables()}


def test_the_link_at_the_top_is_the_manifest() -> None:
    link = Path(__file__).parents[2] / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == FILE.resolve()


def test_preferences_have_the_defaults_of_a_session(plugin_settings: Any, npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(manifest())
    loose = preferences()
    chosen = get_plugin_settings(PLUGIN).restore
    assert preferences() == loose
    chosen.lazy, chosen.device, chosen.blink_key = True, "cpu", "J"
    assert (preferences().lazy, preferences().device, preferences().blink_key) == (True, "cpu", "J")


def test_nothing_heavy_is_imported() -> None:
    # One process for all: starting another costs more than what it imports.
    code = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module("napari_emsynth.plugin." + name)
    heavy = {"torch", "napari_emsynth.models"} & set(sys.modules)
    if heavy:
        sys.exit(f"{name} imports {', '.join(heavy)}")
"""
    what = [
        "restore.dock", "export.dock", "upsample.dock", "align.dock", "superres.dock", "train.dock", "commands",
        "samples", "reader",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *what], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_commands_act_on_the_section_on_screen(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any, told: Any
) -> None:
    from dataclasses import replace

    repairs.set_settings(replace(repairs.settings, method="linear", with_mask=False))
    commands.interpolate_section(viewer)
    assert told[-1].startswith("no layer is chosen")
    layer = viewer.add_image(stack, name="stack")
    viewer.dims.set_point(0, 4)
    commands.mark_damaged(viewer)
    assert [m.section for m in repairs.marks_of(layer)] == [4]
    commands.interpolate_section(viewer)
    finish(session)
    assert viewer.layers["stack restored"].metadata["emsynth"]["sections"][0]["section"] == 4
    viewer.layers.selection.active = layer
    commands.copy_as_code(viewer)
    viewer.dims.set_point(0, 6)
    commands.insert_section(viewer)
    finish(session)
    assert len(viewer.layers["stack restored [1]"].data) == len(stack) + 1


def test_samples_open(raw_viewer: Any) -> None:
    (damaged,) = raw_viewer.open_sample(PLUGIN, "damaged")
    (truth,) = raw_viewer.open_sample(PLUGIN, "truth")
    assert damaged.data.shape == truth.data.shape == (48, 256, 256)
    assert not np.array_equal(damaged.data, truth.data)
    assert [str(unit) for unit in damaged.units] == ["nanometer"] * 3
    assert any(getattr(c, "emsynth_menu", False) for c in raw_viewer.mouse_drag_callbacks)
    Session.of(raw_viewer).close()


def test_export_dock(raw_viewer: Any, stack: Any, tmp_path: Path, finish: Any, told: list[str]) -> None:
    from napari_emsynth.io import read
    from napari_emsynth.plugin.export.dock import Export

    raw_viewer.add_image(stack, name="stack", scale=(4, 2, 2), units=["nm"] * 3)
    dock = Export(raw_viewer)
    raw_viewer.window.add_dock_widget(dock, name="Export")
    dock.export()
    assert told[-1].startswith("no file is named")
    dock.path.setText(str(tmp_path / "out.ome.tif"))
    dock.job_bar.button.click()
    finish(dock.session)
    np.testing.assert_array_equal(read(tmp_path / "out.ome.tif").read(slice(None)), stack)
    assert read(tmp_path / "out.ome.tif").grid.voxel_nm == pytest.approx((4, 2, 2))
    dock.export()
    assert "exists" in told[-1]
    dock.path.setText(str(tmp_path / "nowhere" / "out.ome.tif"))
    dock.export()
    assert "does not exist" in told[-1]
    dock.leave()
    dock.session.close()
