import pytest

# Its assertions are part of the product: failures name the values, as in test files.
pytest.register_assert_rewrite(
    "napari_emsynth.testing.contract",
    "napari_emsynth.testing.spec_laws",
    "napari_emsynth.testing.volume_contract",
)
