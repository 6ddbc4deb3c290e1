# ruff: noqa: D102 - a test's name is its law
"""The laws every method of lateral super-resolution must satisfy.

A method, ours or a third party's, is tested by::

    from napari_emsynth.testing.superres_contract import SuperresContract

    class Test(SuperresContract):
        task = "superres"
        id = "bicubic"

All laws are checked through the public task function, at the smallest factor that the method can do, on sections hardly
larger than a patch: networks take their time. What a method does not promise is declared on the test class
(``affine = False``), never skipped silently.

This module needs pytest; nothing else in the package imports it.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.limits import FACTORS, weights_for
from napari_emsynth.methods.superres.reduction import reduced, repeated
from napari_emsynth.methods.superres.task import superresolve
from napari_emsynth.metrics import psnr
from napari_emsynth.spec import CancelToken, Result, Runtime
from napari_emsynth.testing.phantoms import Phantom, with_unknown
from napari_emsynth.testing.spec_laws import SpecLaws, close
from napari_emsynth.volume import Volume

SHAPE = (3, 16, 18)
CPU = Runtime(device="cpu")


def _stack(dtype: str = "float32", shape: tuple[int, int, int] = SHAPE) -> Volume:
    volume = Phantom(shape=shape, dtype=dtype, voxel_nm=(30.0, 64.0, 64.0)).volume()
    # A method that writes to its input fails here and now.
    volume.data.flags.writeable = False
    return volume


_PLAIN: dict[type, Result] = {}
"""What methods under test make of the standard stack of floats; several laws compare with it."""


class SuperresContract(SpecLaws):
    """Inherit, name the method, and every law of super-resolution is tested.

    Attributes:
        weights: name or file; None takes the method's for the factor.
        affine: a stack times a gain plus an offset gives the result times that gain plus that offset.
        tile: edge in px of the source at which tiled is compared with whole.
        tolerance: what equals means between runs that order their sums differently, as a share of the value range.
        gain_db: how much nearer to a phantom's truth it must be than repeated pixels, in dB.
    """

    weights: ClassVar[str | None] = None
    affine: ClassVar[bool] = True
    tile: ClassVar[int] = 8
    tolerance: ClassVar[float] = 0.005
    gain_db: ClassVar[float] = 0.2

    @property
    def factor(self) -> int:
        """What most laws are tested with: the least the method can do."""
        return min(self.spec.factors or FACTORS)

    def run(self, volume: Any, **options: Any) -> Result:
        """Super-resolve by the method under test; the self-check is off unless asked for."""
        chosen: dict[str, Any] = {"factor": self.factor, "selfcheck": False, "damaged": (), "runtime": CPU, **options}
        return superresolve(volume, method=self.id, weights=self.weights, **chosen)

    def plain(self) -> Result:
        """Return what the method makes of the standard stack of floats; computed once a class."""
        if type(self) not in _PLAIN:
            _PLAIN[type(self)] = self.run(_stack())
        return _PLAIN[type(self)]

    def job(self, volume: Volume) -> Job:
        """Return what draws any box of the result."""
        weights = weights_for(self.spec, self.weights, self.factor)
        request = Request.of("superres", volume, self.id, weights=weights, params=None, runtime=CPU)
        return Job.of(request, self.factor)

    @pytest.mark.parametrize("dtype", ["uint8", ">u2"])
    def test_dtypes_tell_the_same_story_and_block_means_stay(self, dtype: str) -> None:
        volume = _stack(dtype)
        drawn = self.run(volume).volume.data
        assert drawn.dtype == np.dtype(dtype).newbyteorder("=")
        gain, offset = Phantom(dtype=dtype).scale
        grey = (drawn.astype(np.float64) - offset) / gain
        assert np.abs(grey - self.plain().volume.data * 255).mean() < 1.0
        z, y, x = volume.shape
        blocks = drawn.reshape(z, y, self.factor, x, self.factor).astype(np.float64)
        assert (blocks.mean(axis=(2, 4)) == volume.data).all()

    def test_block_means_of_floats_stay_too(self) -> None:
        for drawn, acquired in zip(self.plain().volume.data, _stack().data, strict=True):
            assert close(reduced(drawn, self.factor), acquired, 1e-4)

    @pytest.mark.parametrize(("dtype", "value"), [("uint8", 137), ("float32", 0.25)])
    def test_constant_in_constant_out(self, dtype: str, value: float) -> None:
        drawn = self.run(np.full((2, 16, 16), value, dtype)).volume.data
        assert np.abs(drawn.astype(np.float64) - value).max() <= 1e-5 * abs(value)

    def test_gain_and_offset_pass_through(self) -> None:
        if not self.affine:
            return
        drawn = self.run(_stack().data * 40 - 7).volume.data
        assert close(drawn, self.plain().volume.data * 40 - 7, self.tolerance)

    def test_every_factor_keeps_the_outer_edges_and_marks_every_voxel(self) -> None:
        da = pytest.importorskip("dask.array")
        volume = _stack()
        # Lazy: nothing is drawn to learn about the grid.
        lazy = Volume(da.from_array(volume.data), volume.grid)
        for factor in self.spec.factors or FACTORS:
            result = self.run(lazy, factor=factor)
            assert result.volume.grid == volume.grid.upsample_lateral(factor)
            assert result.synthetic.grid == result.volume.grid
            assert result.volume.data.shape == result.synthetic.data.shape == result.volume.grid.shape
            assert result.residual is not None
            assert result.residual.grid == volume.grid
            assert result.residual.data.shape == volume.shape
            assert np.asarray(result.synthetic.data).all()
            assert result.provenance["factor"] == factor

    def test_a_spot_stays_where_it_is(self) -> None:
        tissue = _stack(shape=(1, 17, 17)).data
        spotted = tissue.copy()
        spotted[0, 8, 6] += 2 * tissue.std()
        for factor in self.spec.factors or FACTORS:
            with_spot, without = (self.run(data, factor=factor).volume.data[0] for data in (spotted, tissue))
            # What a spot changes elsewhere is little, and squared it hardly counts.
            power = np.square(with_spot.astype(np.float64) - without)
            for axis, spot in ((0, 8), (1, 6)):
                found = (power.sum(axis=1 - axis) * np.arange(power.shape[axis])).sum() / power.sum()
                assert abs(found - (factor * (spot + 0.5) - 0.5)) < factor / 4

    def test_lazy_equals_eager(self) -> None:
        da = pytest.importorskip("dask.array")
        eager, lazy = self.plain(), self.run(da.from_array(_stack().data, chunks=(2, 11, 13)))
        for name in ("volume", "residual", "uncertainty", "prior"):
            one, other = getattr(eager, name), getattr(lazy, name)
            assert (one is None) == (other is None)
            if one is not None:
                assert other.is_lazy
                assert other.data.dtype == one.data.dtype
                assert close(other.data.compute(scheduler="synchronous"), one.data, self.tolerance)
        assert eager.provenance["sections"] == lazy.provenance["sections"]

    def test_any_box_equals_the_whole(self) -> None:
        whole, draw, f = self.plain().volume.data, self.job(_stack()), self.factor
        for box in (np.s_[1:2, 3 * f + 1 : 9 * f, 2:5], np.s_[2:3, 16 * f - 1 : 16 * f, 17 * f : 18 * f]):
            assert close(draw(box, CPU), whole[box], self.tolerance)

    def test_tiled_equals_whole(self) -> None:
        tiled = self.run(_stack(), runtime=Runtime(device="cpu", tile=self.tile)).volume.data
        assert close(tiled, self.plain().volume.data, self.tolerance)

    def test_what_it_knows_of_itself_is_given(self) -> None:
        result = self.plain()
        assert (result.uncertainty is not None) == self.spec.has_uncertainty
        assert (result.prior is not None) == self.spec.has_prior
        if result.uncertainty is not None:
            half = result.uncertainty.data
            assert half.dtype == np.float32
            assert np.isfinite(half).all()
            assert (half > 0).any()
            assert (half >= 0).all()
        if result.prior is not None:
            assert result.prior.data.min() >= 0
            assert result.prior.data.max() <= 1

    def test_unknown_pixels_stay_unknown_and_do_not_spread(self) -> None:
        volume = with_unknown(_stack(), 0.2)
        drawn = self.run(volume).volume.data
        assert (np.isnan(drawn) == repeated(np.isnan(volume.data[0]), self.factor)).all()

    def test_a_margin_does_not_change_the_tissue(self) -> None:
        f = self.factor
        fine = Phantom(shape=(1, 32 * f, 40 * f), dtype="float32", cell_px=14.0 * f).volume().data[0]
        thin = np.repeat(reduced(fine, f)[None], 3, axis=0)
        empty = np.zeros(thin.shape, bool)
        empty[:, :, :6], empty[1, 27:] = True, True
        plain, drawn = (self.run(np.where(e, np.float32(-1), thin)) for e in (np.zeros_like(empty), empty))
        assert drawn.empty is not None
        np.testing.assert_array_equal(drawn.empty.data > 0, np.stack([repeated(e, f) for e in empty]))
        for z in range(3):
            gone = drawn.empty.data[z] > 0
            kept, lost = (psnr(r.volume.data[z][~gone], fine[~gone], float(np.ptp(fine))) for r in (drawn, plain))
            assert kept > lost - 0.3
            assert (drawn.volume.data[z][gone] == -1).all()
            np.testing.assert_array_equal(drawn.synthetic.data[z] > 0, ~gone)

    def test_a_damaged_neighbour_is_never_seen(self) -> None:
        data = np.array(_stack("uint8").data)
        spoiled = data.copy()
        # The same values, so that the volume's brightness and contrast stay.
        spoiled[2] = spoiled[2, ::-1, ::-1]
        one, other = (self.run(stack, damaged=[2]).volume.data for stack in (data, spoiled))
        assert close(one[:2], other[:2], self.tolerance)

    def test_the_outer_section_stands_for_those_beyond_it(self) -> None:
        section = _stack().data[:1]
        alone = self.run(section).volume.data[0]
        amid = self.run(np.repeat(section, 3, axis=0)).volume.data[1]
        assert close(alone, amid, self.tolerance)

    def test_nearer_to_the_truth_than_repeated_pixels(self) -> None:
        f = self.factor
        phantom = Phantom(shape=(3, 16 * f, 16 * f), cell_px=5.0 * f, drift=1.0)
        truth = np.stack([phantom.clean(z) for z in range(3)])
        coarse = np.stack([reduced(section, f) for section in truth])
        drawn = self.run(coarse).volume.data[1]
        baseline = psnr(repeated(coarse[1], f), truth[1])
        assert psnr(drawn, truth[1]) > baseline + self.gain_db

    def test_provenance_survives_json(self) -> None:
        da = pytest.importorskip("dask.array")
        size = 16 * self.factor
        data = Phantom(shape=(1, size, size)).volume().data
        # Lazy: only the self-check is computed.
        result = self.run(da.from_array(data), selfcheck=True)
        record = json.loads(json.dumps(result.provenance, allow_nan=False))
        assert record == result.provenance
        assert (record["task"], record["method"]) == (self.task, self.id)
        assert self.spec.params.from_json(record["params"]) == self.spec.params()
        assert (record["weights"] is None) == (not self.spec.weights)
        assert record["sections"] == [{"section": 0, "treatment": "redrawn"}]
        assert {"psnr", "bicubic", "nearest", "beats_floors", "n"} <= record["selfcheck"].keys()
        assert record["residual"]["before"] >= 0
        assert record["residual"]["after"] == 0
        assert any("every voxel" in line for line in record["notices"])

    def test_the_seed_decides(self) -> None:
        again = self.run(_stack(), runtime=Runtime(device="cpu", seed=0))
        assert (again.volume.data == self.plain().volume.data).all()
        assert again.provenance["seed"] == 0

    def test_cancel_stops_it(self) -> None:
        token = CancelToken()
        token.cancel()
        runtime = Runtime(device="cpu", cancel=token)
        with pytest.raises(Cancelled):
            self.run(_stack(), runtime=runtime)
        method = self.job(_stack()).request.built()
        block = np.random.default_rng(0).normal(size=(2 * method.context + 1, 16, 16)).astype(np.float32)
        with pytest.raises(Cancelled):
            method(block, self.factor, runtime)

    def test_what_it_cannot_do_is_refused_in_one_line(self) -> None:
        for options in ({"factor": 4}, {"factor": 8.5}, {"factor": "x"}, {"factor": True}, {"damaged": [3]}):
            with pytest.raises(InputError) as caught:
                self.run(_stack(), **options)
            assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="limit is 16 x 16 px"):
            self.run(np.zeros((5, 15, 40), np.uint8))
