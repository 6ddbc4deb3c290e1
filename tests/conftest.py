import pytest

# Its assertions are part of the product: failures name the values, as in test files.
pytest.register_assert_rewrite(
    "napari_emsynth.testing.contract",
    "napari_emsynth.testing.field_laws",
    "napari_emsynth.testing.spec_laws",
    "napari_emsynth.testing.superres_contract",
    "napari_emsynth.testing.volume_contract",
)


@pytest.fixture
def install(monkeypatch):
    """Register methods as another package's entry points would."""
    from types import SimpleNamespace

    from napari_emsynth import methods

    def points(*specs):
        found = [SimpleNamespace(name=spec.id, load=lambda spec=spec: spec) for spec in specs]
        monkeypatch.setattr(methods, "entry_points", lambda group: found)

    return points
