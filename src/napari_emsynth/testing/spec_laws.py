# ruff: noqa: D102 - a test's name is its law
"""The laws of every method's description, whatever its task, and how contracts compare arrays.

This module needs pytest; nothing else in the package but the contracts imports it.
"""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.spec import MethodSpec
from napari_emsynth.volume import Array


def close(a: Array, b: Array, tolerance: float) -> bool:
    """Return whether two arrays agree within a share of their value range; NaN equals NaN."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    known = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)], [0.0]])
    limit = tolerance * max(float(np.ptp(known)), 1e-12)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=limit, equal_nan=True))


class SpecLaws:
    """Laws of a method's description; contracts inherit them."""

    task: ClassVar[str]
    id: ClassVar[str]

    @property
    def spec(self) -> MethodSpec:
        """What the method says of itself."""
        return get(self.task, self.id)

    def test_spec_says_what_a_menu_needs(self) -> None:
        spec = self.spec
        assert (spec.task, spec.id) == (self.task, self.id)
        assert spec.title
        assert spec.summary
        assert spec.name == f"{self.task}/{self.id}"

    def test_params_round_trip(self) -> None:
        params = self.spec.params()
        assert self.spec.params.from_json(json.loads(json.dumps(params.to_json()))) == params
        for field in params.fields():
            assert field.help
            assert field.check(field.default) == field.default
        with pytest.raises(InputError, match="no-such-name"):
            self.spec.params.from_json({"no-such-name": 1})
