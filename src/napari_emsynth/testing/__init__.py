"""What a method's author needs to prove it: phantoms with a known answer, planted damage, a method contract.

Nothing is imported here, so that :mod:`napari_emsynth.testing.damage` loads without pytest.
"""
