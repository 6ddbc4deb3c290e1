# ruff: noqa: D102 - a test's name is its law
"""The laws every method must satisfy that makes a whole new volume: upsampling and alignment.

A method, ours or a third party's, is tested by::

    from napari_emsynth.testing.volume_contract import UpsampleContract

    class Test(UpsampleContract):
        task = "upsample"
        id = "linear"

All laws are checked through the public task function, on small phantoms: networks in three dimensions take their time.
What a method does not promise is declared on the test class (``affine = False``), never skipped silently.

This module needs pytest; nothing else in the package imports it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.align.job import Job as AlignJob
from napari_emsynth.methods.align.protocol import Neighbour
from napari_emsynth.methods.align.stack.straighten import drawing
from napari_emsynth.methods.align.task import align
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.job import Job as UpsampleJob
from napari_emsynth.methods.upsample.lattice import SAMPLINGS, Lattice, Sampling
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.methods.upsample.task import upsample
from napari_emsynth.metrics import psnr
from napari_emsynth.spec import CancelToken, Result, Runtime
from napari_emsynth.testing.field_laws import FieldLaws
from napari_emsynth.testing.phantoms import Phantom, margins, with_unknown
from napari_emsynth.testing.spec_laws import SpecLaws, close
from napari_emsynth.volume import Array, Volume

DTYPES = ("uint8", "int16", "float32", ">u2")
# Sections x rows x columns: two lines, an odd scrap.
SIZES = ((3, 1, 5), (4, 7, 3))
SHAPE = (5, 20, 24)
VOXEL_NM = (30.0, 10.0, 10.0)


def _stack(dtype: str = "uint8", shape: tuple[int, int, int] = SHAPE) -> Volume:
    volume = Phantom(shape=shape, dtype=dtype, voxel_nm=VOXEL_NM).volume()
    # A method that writes to its input fails here and now.
    volume.data.flags.writeable = False
    return volume


_MADE: dict[tuple[type, str], Result] = {}
"""What methods under test make of the standard stack of a dtype; several laws look at it."""


class VolumeContract(SpecLaws):
    """The laws that upsampling and alignment share.

    Attributes:
        weights: name or file; None takes the method's default.
        params: of the method; None takes its defaults. Methods that iterate keep their laws with fewer steps, sooner.
        symmetric: a stack upside down gives the result upside down.
        affine: a stack times a gain plus an offset gives the result times that gain plus that offset.
        tile: edge in px at which tiled is compared with whole.
        tolerance: what equals means between runs that order their sums differently, as a share of the value range.
        gain_db: how much nearer to a phantom's truth it must be than what costs nothing, in dB.
    """

    weights: ClassVar[str | None] = None
    params: ClassVar[Mapping[str, object] | None] = None
    symmetric: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    tile: ClassVar[int] = 8
    tolerance: ClassVar[float] = 0.005
    gain_db: ClassVar[float] = 0.5

    def run(self, volume: Any, **options: Any) -> Result:
        """Run the method under test; the self-check is off unless asked for."""
        raise NotImplementedError

    def job(self, volume: Volume) -> Any:
        """Return what draws any box of the result."""
        raise NotImplementedError

    def made(self, dtype: str = "uint8") -> Result:
        """Return what the method makes of the standard stack; computed once a class, to be read only."""
        key = type(self), dtype
        if key not in _MADE:
            result = self.run(_stack(dtype))
            for array in (result.volume.data, result.synthetic.data):
                array.flags.writeable = False
            _MADE[key] = result
        return _MADE[key]

    def plain(self) -> Array:
        """Return what the method makes of the standard stack of floats."""
        return np.asarray(self.made("float32").volume.data)

    def asked(self, runtime: Runtime) -> Any:
        """Call the built method itself."""
        raise NotImplementedError

    def treated(self, result: Result) -> list[int]:
        """Return the sections that the record must list: those with a voxel that was made up."""
        return [int(z) for z in np.flatnonzero(result.synthetic.data.any(axis=(1, 2)))]

    def request(self, volume: Volume, runtime: Runtime | None = None) -> Request:
        """Return the request that the task would make."""
        return Request.of(
            self.spec.task,
            volume,
            self.id,
            weights=self.weights,
            params=self.params,
            runtime=runtime or Runtime(device="cpu"),
        )

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes_tell_the_same_story(self, dtype: str) -> None:
        phantom = Phantom(shape=SHAPE, dtype=dtype)
        drawn = self.made(dtype).volume
        assert drawn.data.dtype == np.dtype(dtype).newbyteorder("=")
        gain, offset = phantom.scale
        reference = self.plain() * 255
        grey = (drawn.data.astype(np.float64) - offset) / gain
        known = np.isfinite(reference)  # floats say so where a voxel came from outside
        assert known.mean() > 0.5
        assert np.abs(grey - reference)[known].mean() < 1.0

    @pytest.mark.parametrize(("dtype", "value"), [("uint8", 137), ("int16", -500), ("float32", 0.25)])
    def test_constant_in_constant_out(self, dtype: str, value: float) -> None:
        drawn = self.run(np.full(SHAPE, value, dtype)).volume.data
        assert np.abs(drawn.astype(np.float64) - value).max() <= 1e-5 * abs(value)

    def test_gain_and_offset_pass_through(self) -> None:
        if not self.affine:
            return
        drawn = self.run(_stack("float32").data * 40 - 7).volume.data
        assert close(drawn, self.plain() * 40 - 7, self.tolerance)

    def test_reversed_stack_reversed_result(self) -> None:
        if not self.symmetric:
            return
        down = self.run(np.ascontiguousarray(_stack("float32").data[::-1])).volume.data
        assert close(down[::-1], self.plain(), self.tolerance)

    def test_lazy_equals_eager(self) -> None:
        da = pytest.importorskip("dask.array")
        source = Volume.of(da.from_array(_stack().data, chunks=(2, 11, 13)), voxel_nm=VOXEL_NM)
        eager, lazy = self.made(), self.run(source)
        for one, other in ((eager.volume, lazy.volume), (eager.synthetic, lazy.synthetic)):
            assert other.is_lazy
            assert other.data.shape == one.data.shape
            assert other.data.dtype == one.data.dtype
            assert close(other.data.compute(scheduler="synchronous"), one.data, self.tolerance)
        assert eager.provenance["sections"] == lazy.provenance["sections"]

    def test_any_box_equals_the_whole(self) -> None:
        volume = _stack("float32", (6, 40, 24))
        whole = self.run(volume).volume.data
        z, draw = whole.shape[0], self.job(volume)
        for box in (np.s_[3:5, 16:33, 5:24], np.s_[z - 1 : z, 39:40, 0:1]):
            part = draw(box, Runtime(device="cpu"))
            assert close(part, whole[box], self.tolerance)

    def test_tiled_equals_whole(self) -> None:
        volume = _stack("float32", (3, 24, 28))
        whole, tiled = (
            self.run(volume, runtime=Runtime(device="cpu", tile=tile)).volume.data for tile in (None, self.tile)
        )
        assert close(tiled, whole, self.tolerance)

    def test_the_seed_decides(self) -> None:
        data = _stack(shape=(3, 16, 16)).data
        one, other = (self.run(data, runtime=Runtime(device="cpu", seed=7)) for _ in range(2))
        assert (one.volume.data == other.volume.data).all()
        assert one.provenance["seed"] == 7

    def test_unknown_voxels_stay_unknown_and_do_not_spread(self) -> None:
        volume = with_unknown(_stack("float32"), 0.2)
        drawn = self.run(volume).volume.data
        unknown = np.isnan(volume.data[0])
        assert (np.isnan(drawn) == unknown).all()

    @pytest.mark.parametrize("size", SIZES)
    def test_odd_and_tiny_sizes(self, size: tuple[int, int, int]) -> None:
        result = self.run(_stack(shape=size))
        assert result.volume.shape[1:] == size[1:]
        assert result.volume.shape == result.synthetic.shape == result.volume.grid.shape

    def test_provenance_survives_json(self) -> None:
        result = self.run(_stack(shape=(7, 20, 24)), selfcheck=True)
        record = json.loads(json.dumps(result.provenance, allow_nan=False))
        assert record == result.provenance
        assert (record["task"], record["method"]) == (self.task, self.id)
        assert self.spec.params.from_json(record["params"]) == self.spec.params(**(self.params or {}))
        assert (record["weights"] is None) == (not self.spec.weights)
        assert [entry["section"] for entry in record["sections"]] == self.treated(result)
        assert {"beats_floors", "n"} <= record["selfcheck"].keys()

    def test_a_result_that_is_all_made_up_says_so(self) -> None:
        result = self.run(_stack(shape=(3, 16, 16)))
        if result.synthetic.data.all():
            assert any("every voxel" in line for line in result.provenance["notices"])

    def test_the_built_method_asks_before_it_computes(self) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            self.asked(Runtime(device="cpu", cancel=token))

    def test_cancel_stops_it(self) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            self.run(_stack(), runtime=Runtime(device="cpu", cancel=token))


class UpsampleContract(VolumeContract):
    """Inherit, name the method, and every law of upsampling is tested."""

    @property
    def factor(self) -> float:
        """What most laws are tested with: the least the method can do."""
        return min(self.spec.factors or (2,))

    @property
    def sampling(self) -> Sampling:
        """What most laws are tested with: the method's first."""
        return "slab" if self.spec.samplings[:1] == ("slab",) else "point"

    def run(self, volume: Any, **options: Any) -> Result:
        """Upsample by the method under test."""
        chosen: dict[str, Any] = {
            "factor": self.factor,
            "sampling": self.sampling,
            "selfcheck": False,
            "runtime": Runtime(device="cpu"),
            **options,
        }
        return upsample(volume, method=self.id, weights=self.weights, params=self.params, **chosen)

    def job(self, volume: Volume) -> Any:
        """Return what draws any box of the upsampled volume."""
        return UpsampleJob.of(self.request(volume), Lattice(volume.shape[0], self.factor, self.sampling))

    def asked(self, runtime: Runtime) -> Any:
        """Ask the built method for a section half way."""
        block = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)
        ask = Ask(range(1, 2), self.factor, self.sampling)
        return self.request(_stack(), runtime).built()(block, ask, runtime)

    def _cases(self) -> list[tuple[float, Sampling]]:
        factors = self.spec.factors or (2, 3, 2.5)
        samplings = [known for known in SAMPLINGS if known in (self.spec.samplings or ("point",))]
        return [(factor, sampling) for sampling in samplings for factor in factors]

    def test_every_factor_and_sampling_keeps_its_grid_law(self) -> None:
        volume = _stack(shape=(4, 12, 14))
        for factor, sampling in self._cases():
            result = self.run(volume, factor=factor, sampling=sampling)
            assert result.volume.grid == Lattice(4, factor, sampling).grid(volume.grid)
            assert result.synthetic.grid == result.volume.grid
            assert result.volume.data.shape == result.volume.grid.shape
            assert (result.provenance["factor"], result.provenance["sampling"]) == (factor, sampling)

    def test_what_it_keeps_is_bit_identical_and_what_it_made_is_marked(self) -> None:
        if "point" not in (self.spec.samplings or ("point",)):
            return
        volume = _stack()
        result = self.run(volume, sampling="point")
        step = int(self.factor)
        if self.spec.keeps_acquired:
            assert (result.volume.data[::step] == volume.data).all()
            assert (result.synthetic.data[::step] == 0).all()
            made = np.delete(result.synthetic.data, np.s_[::step], axis=0)
        else:
            made = result.synthetic.data
        assert result.synthetic.data.dtype == np.uint8
        assert (made == 1).all()

    def test_lazy_computes_only_what_is_read(self) -> None:
        da = pytest.importorskip("dask.array")
        read = []

        def spy(block: Array, block_info: Any = None) -> Array:
            read.append(block_info[0]["chunk-location"][0])
            return block

        count = 200
        source = da.zeros((count, 4, 4), chunks=(1, 4, 4), dtype=np.uint8).map_blocks(
            spy, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8)
        )
        lazy = self.run(source)
        read.clear()
        lazy.volume.section(lazy.volume.shape[0] - 1)
        assert set(read) <= set(range(count // 2, count))

    def test_nearer_to_the_hidden_sections_than_the_nearest_is(self) -> None:
        factor = int(self.factor)
        phantom = Phantom(shape=(9, 40, 40), drift=1.0)
        truth = np.stack([phantom.clean(z) for z in range(9)])
        hidden = [z for z in range(2, 7) if z % factor]
        thin = phantom.volume().data[::factor]
        drawn = self.run(Volume.of(thin), sampling="point").volume.data
        baseline = np.stack([thin[z // factor] for z in hidden])
        assert psnr(drawn[hidden], truth[hidden]) > psnr(baseline, truth[hidden]) + self.gain_db

    def test_a_margin_does_not_change_the_tissue(self) -> None:
        if self.sampling != "point":
            return
        factor = int(self.factor)
        fine = Phantom(shape=(3 * factor + 1, 64, 80), drift=1.0 / factor).volume().data
        thin, empty = fine[::factor], margins((4, 64, 80))
        volume = Volume.of(np.where(empty, np.uint8(0), thin))
        plain, drawn = (self.run(v, sampling="point") for v in (Volume.of(thin), volume))
        assert drawn.empty is not None
        for j in (z for z in range(len(fine)) if z % factor):
            below, above = (slice(z, z + 1) for z in (j // factor, j // factor + 1))
            both = ~(empty[below] | empty[above])[0]
            kept, lost = (psnr(r.volume.data[j][both], fine[j][both]) for r in (drawn, plain))
            assert kept > lost - 0.3
            for one, other in ((below, above), (above, below)):
                alone = (empty[one] & ~empty[other])[0]
                np.testing.assert_array_equal(drawn.volume.data[j][alone], volume.data[other][0][alone])
            gone = (empty[below] & empty[above])[0]
            np.testing.assert_array_equal(drawn.empty.data[j] > 0, gone)
            np.testing.assert_array_equal(drawn.synthetic.data[j] > 0, ~gone)
            assert not drawn.volume.data[j][gone].any()
        if self.spec.keeps_acquired:
            np.testing.assert_array_equal(drawn.volume.data[::factor], volume.data)
        box = np.s_[1:3, 20:37, 5:60]
        assert close(self.job(volume)(box, Runtime(device="cpu")), drawn.volume.data[box], self.tolerance)

    def test_what_it_cannot_do_is_refused_in_one_line(self) -> None:
        for options in ({"factor": 13}, {"factor": 1}, {"factor": "x"}, {"sampling": "cubic"}):
            with pytest.raises(InputError) as caught:
                self.run(_stack(), **options)
            assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="limit is 2 sections"):
            self.run(_stack(shape=(1, 8, 8)))


class AlignContract(FieldLaws, VolumeContract):
    """Inherit, name the method, and every law of alignment is tested.

    Which laws those are is said by the method's :attr:`napari_emsynth.spec.MethodSpec.answers`. A stack upside down
    need not give the result upside down: declare ``symmetric = True`` where it must.
    """

    symmetric: ClassVar[bool] = False

    def run(self, volume: Any, **options: Any) -> Result:
        """Align by the method under test."""
        chosen: dict[str, Any] = {"selfcheck": False, "runtime": Runtime(device="cpu"), **options}
        return align(volume, method=self.id, weights=self.weights, params=self.params, **chosen)

    def job(self, volume: Volume) -> Any:
        """Return what draws any box of the aligned volume."""
        return drawing(self.request(volume)) if self.moves else AlignJob.of(self.request(volume))

    def built(self) -> Any:
        """Return the built method under test."""
        return self.request(_stack()).built()

    def asked(self, runtime: Runtime) -> Any:
        """Ask the built method to align a block, or one section with another."""
        block = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)
        method = self.request(_stack(), runtime).built()
        if self.moves:
            section, neighbour = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
            return method(section, [Neighbour(neighbour)], None, runtime)
        return method(block, runtime)

    def treated(self, result: Result) -> list[int]:
        """Return the sections that the record must list."""
        return list(range(result.volume.shape[0])) if self.moves else super().treated(result)

    def test_unknown_voxels_stay_unknown_and_do_not_spread(self) -> None:
        if not self.moves:
            super().test_unknown_voxels_stay_unknown_and_do_not_spread()

    def test_the_grid_stays_and_every_voxel_is_marked(self) -> None:
        result = self.made()
        assert result.volume.grid == result.synthetic.grid == _stack().grid
        assert result.synthetic.data.dtype == np.uint8
        if not self.moves:
            assert (result.synthetic.data == 1).all()
            assert {entry["treatment"] for entry in result.provenance["sections"]} == {"redrawn"}

    def test_a_known_jitter_becomes_smaller(self) -> None:
        if self.moves:
            # Held against the displacements themselves: voxels also say where the whole stack went.
            return
        phantom = Phantom(shape=(9, 48, 48), jitter=1.0, noise=2.0)
        truth = replace(phantom, jitter=0.0).volume().data[2:7]
        before = phantom.volume()
        after = self.run(before).volume.data[2:7]
        assert psnr(after, truth) > psnr(before.data[2:7], truth) + self.gain_db

    def test_too_few_sections_are_refused(self) -> None:
        least = 2 if self.moves else 3
        with pytest.raises(InputError, match=f"limit is {least} sections"):
            self.run(_stack(shape=(least - 1, 8, 8)))

    def test_what_only_displacements_can_keep_is_refused_in_one_line(self) -> None:
        if self.moves:
            return
        given: list[dict[str, Any]] = [
            {"max_displacement_nm": 50.0},
            {"reference": 1},
            {"skip": []},
            {"materials": np.zeros(SHAPE, np.uint8)},
        ]
        for options in given:
            with pytest.raises(InputError, match="redraws every voxel") as caught:
                self.run(_stack(), **options)
            assert "\n" not in str(caught.value)
