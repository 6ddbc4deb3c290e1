import os
import shutil
import subprocess

import pytest

# Its assertions are part of the product: failures name the values, as in test files.
pytest.register_assert_rewrite(
    "napari_emsynth.testing.contract",
    "napari_emsynth.testing.field_laws",
    "napari_emsynth.testing.spec_laws",
    "napari_emsynth.testing.superres_contract",
    "napari_emsynth.testing.volume_contract",
)


def pytest_configure(config):
    """Give every worker but the first a screen of its own: a screen has one focus and one clipboard."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        return
    if not (os.environ.get("DISPLAY") and shutil.which("Xvfb")):
        return
    ours, its = os.pipe()
    words = ["Xvfb", "-displayfd", str(its), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(words, pass_fds=[its], stderr=subprocess.DEVNULL)
    os.close(its)
    with os.fdopen(ours) as number:
        os.environ["DISPLAY"] = f":{number.readline().strip()}"
    config.add_cleanup(screen.wait)
    config.add_cleanup(screen.terminate)


@pytest.fixture
def install(monkeypatch):
    """Register methods as another package's entry points would."""
    from types import SimpleNamespace

    from napari_emsynth import methods

    def points(*specs):
        found = [SimpleNamespace(name=spec.id, load=lambda spec=spec: spec) for spec in specs]
        monkeypatch.setattr(methods, "entry_points", lambda group: found)

    return points
