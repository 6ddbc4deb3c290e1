"""Laws of the whole package: what importing it loads, what it offers, which part may know which."""

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import napari_emsynth as es

HEAVY = {"torch", "napari", "qtpy", "PyQt6", "PySide6", "numpy", "zarr", "dask", "scipy", "skimage", "matplotlib"}


def loaded_by(code):
    program = f"{code}\nimport json, sys\nprint(json.dumps([m.partition('.')[0] for m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import napari_emsynth") & HEAVY == set()


def test_the_command_line_answers_without_torch_or_a_window():
    assert loaded_by("import napari_emsynth.cli") & (HEAVY - {"numpy"}) == set()


@pytest.mark.parametrize("name", es.__all__)
def test_every_public_name_is_there(name):
    assert getattr(es, name) is not None


def test_dir_lists_the_public_names_and_no_other():
    assert set(dir(es)) == set(es.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="restore"):
        getattr(es, "restore")  # noqa: B009 - a constant, for it must not exist


def test_methods_is_a_function_even_after_its_package_was_imported():
    importlib.import_module("napari_emsynth.methods.interpolate")
    assert es.methods("interpolate")[0].id == "emsynth"
    assert len(es.methods()) >= 3


def test_whole_volumes_are_made_through_the_public_names(install):
    import numpy as np

    from napari_emsynth.testing.stand_ins import redrawing

    install(redrawing())
    stack = np.random.default_rng(0).integers(0, 255, (9, 20, 24), np.uint8)
    seen = []
    thin = es.upsample(stack, 2, method="linear", voxel_nm=(20, 5, 5), seed=5, progress=lambda *told: seen.append(told))
    assert thin.volume.grid.voxel_nm == (10, 5, 5)
    assert thin.provenance["seed"] == 5
    assert seen
    straight = es.align(stack, method="stand-in-smooth", params={"strength": 0.5}, selfcheck=False)
    assert straight.provenance["params"] == {"strength": 0.5}
    assert straight.provenance["selfcheck"] is None
    assert es.evaluate("upsample/linear", stack, gap=2)["factor"] == 3
    with pytest.raises(es.InputError, match="either runtime or its parts"):
        es.align(stack, method="stand-in-smooth", runtime=es.Runtime(), seed=1)


def test_the_console_script_and_the_manifest_are_registered():
    (script,) = entry_points(group="console_scripts", name="emsynth")
    assert script.value == "napari_emsynth.cli:main"
    assert any(p.value.startswith("napari_emsynth:") for p in entry_points(group="napari.manifest"))
