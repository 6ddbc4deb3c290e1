# ruff: noqa: D102 - a test's name is its law
"""The laws every interpolation method must satisfy, as a pytest class to inherit from.

A method, ours or a third party's, is tested by::

    from napari_emsynth.testing.contract import MethodContract

    class Test(MethodContract):
        task = "interpolate"
        id = "linear"

and those of the tasks that make a whole new volume by the classes of :mod:`napari_emsynth.testing.volume_contract`.

All laws are checked through the public task function, on phantoms of :mod:`napari_emsynth.testing.phantoms`. What a
method does not promise is declared on the test class (``symmetric = False``), never skipped silently.

This module needs pytest; nothing else in the package imports it.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_emsynth.errors import Cancelled
from napari_emsynth.methods.interpolate.protocol import Gap
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.metrics import psnr
from napari_emsynth.spec import CancelToken, Result, Runtime
from napari_emsynth.testing.phantoms import Phantom, margins, with_unknown
from napari_emsynth.testing.spec_laws import SpecLaws, close
from napari_emsynth.volume import Array, Volume

DTYPES = ("uint8", "uint16", "int16", "float32", ">u2")
# Rows x columns: a line, an odd scrap, a tile and a bit.
SIZES = ((1, 5), (7, 3), (33, 65))
SHAPE = (7, 48, 56)
MARKED = 3


def _stack(dtype: str = "uint8", shape: tuple[int, int, int] = SHAPE) -> Volume:
    volume = Phantom(shape=shape, dtype=dtype).volume()
    # A method that writes to its input fails here and now.
    volume.data.flags.writeable = False
    return volume


def _mask(shape: tuple[int, int, int] = SHAPE) -> Array:
    mask = np.zeros(shape, np.uint8)
    mask[MARKED, 10:24, 12:30] = 1
    mask[MARKED, 15, 14] = 0
    return mask


class MethodContract(SpecLaws):
    """Inherit, name the method, and every law below is tested.

    Attributes:
        task: "interpolate".
        id: as in the index, or as registered by an entry point.
        weights: name or file; None takes the method's default.
        symmetric: exchanging the neighbours (z reversed) reverses the result.
        affine: a stack times a gain plus an offset gives the result times that gain plus that offset.
        tile: edge in px at which tiled is compared with whole.
        tolerance: what equals means between runs that order their sums differently, as a share of the value range.
        gain_db: how much better than the nearest section it must be on a phantom, in dB.
        alone_db: how much worse than a section the result may be where that one alone serves, in dB.
    """

    weights: ClassVar[str | None] = None
    symmetric: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    tile: ClassVar[int] = 32
    tolerance: ClassVar[float] = 0.005
    gain_db: ClassVar[float] = 1.0
    alone_db: ClassVar[float] = 0.3

    def run(self, volume: Any, sections: Any = None, **options: Any) -> Result:
        """Run the method under test; the self-check is off unless asked for."""
        chosen: dict[str, Any] = {"selfcheck": False, "runtime": Runtime(device="cpu"), **options}
        return interpolate(volume, sections, method=self.id, weights=self.weights, **chosen)

    def test_only_marked_sections_change(self) -> None:
        volume = _stack()
        result = self.run(volume, [MARKED])
        others = [z for z in range(SHAPE[0]) if z != MARKED]
        assert result.volume.shape == SHAPE
        assert result.volume.grid == volume.grid
        assert (result.volume.data[others] == volume.data[others]).all()
        assert (result.volume.data[MARKED] != volume.data[MARKED]).any()
        assert result.synthetic.data.dtype == np.uint8
        assert (result.synthetic.data[others] == 0).all()
        assert (result.synthetic.data[MARKED] == 1).all()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_only_masked_voxels_change(self, dtype: str) -> None:
        volume, mask = _stack(dtype), _mask()
        result = self.run(volume, mask=mask)
        assert (result.volume.data == volume.data)[mask == 0].all()
        assert (result.volume.data != volume.data)[mask == 1].any()
        assert (result.synthetic.data == mask).all()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes_tell_the_same_story(self, dtype: str) -> None:
        phantom = Phantom(shape=SHAPE, dtype=dtype)
        drawn = self.run(_stack(dtype), [MARKED]).volume
        assert drawn.data.dtype == np.dtype(dtype).newbyteorder("=")
        gain, offset = phantom.scale
        reference = self.run(_stack("float32"), [MARKED]).volume.data[MARKED] * 255
        grey = (drawn.data[MARKED].astype(np.float64) - offset) / gain
        assert np.abs(grey - reference).mean() < 1.0

    def test_a_hidden_section_has_no_say(self) -> None:
        data = _stack().data.copy()
        first = self.run(data, [MARKED]).volume.data
        data[MARKED] = 255 - data[MARKED]
        assert (self.run(data, [MARKED]).volume.data == first).all()

    @pytest.mark.parametrize(("dtype", "value"), [("uint8", 137), ("int16", -500), ("float32", 0.25)])
    def test_constant_in_constant_out(self, dtype: str, value: float) -> None:
        data = np.full(SHAPE, value, dtype)
        for marks in ({"sections": [MARKED]}, {"mask": _mask()}):
            drawn = self.run(data, **marks).volume.data
            assert np.abs(drawn.astype(np.float64) - value).max() <= 1e-5 * abs(value)

    def test_gain_and_offset_pass_through(self) -> None:
        if not self.affine:
            return
        data = _stack("float32").data
        plain = self.run(data, [MARKED]).volume.data
        assert close(self.run(data * 40 - 7, [MARKED]).volume.data, plain * 40 - 7, self.tolerance)

    def test_reversed_stack_reversed_result(self) -> None:
        if not self.symmetric:
            return
        data = _stack("float32").data
        up = self.run(data, [2, 3]).volume.data
        down = self.run(np.ascontiguousarray(data[::-1]), [SHAPE[0] - 1 - z for z in (2, 3)]).volume.data
        assert close(down[::-1], up, self.tolerance)

    def test_lazy_equals_eager(self) -> None:
        da = pytest.importorskip("dask.array")
        data = _stack().data
        eager, lazy = self.run(data, [MARKED]), self.run(da.from_array(data, chunks=(2, 20, 30)), [MARKED])
        pairs = [(eager.volume, lazy.volume), (eager.synthetic, lazy.synthetic)]
        if eager.uncertainty is not None and lazy.uncertainty is not None:
            pairs.append((eager.uncertainty, lazy.uncertainty))
        for one, other in pairs:
            assert other.is_lazy
            assert other.data.shape == one.data.shape
            assert other.data.dtype == one.data.dtype
            assert close(other.data.compute(scheduler="synchronous"), one.data, self.tolerance)

    def test_lazy_computes_only_what_is_read(self) -> None:
        da = pytest.importorskip("dask.array")
        read = []

        def spy(block: Array, block_info: Any = None) -> Array:
            read.append(block_info[0]["chunk-location"][0])
            return block

        source = da.from_array(_stack().data, chunks=(1, *SHAPE[1:])).map_blocks(
            spy, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8)
        )
        lazy = self.run(source, [1, 5])
        read.clear()
        lazy.volume.section(3)
        assert read == [3]
        read.clear()
        lazy.volume.section(5)
        (entry,) = (e for e in lazy.provenance["sections"] if e["section"] == 5)
        assert set(read) <= {5, *entry["served"]}
        assert set(entry["served"]) <= {3, 4, 6}

    def test_tiled_equals_whole(self) -> None:
        data = _stack("float32", (3, 96, 120)).data
        whole = self.run(data, [1]).volume.data
        tiled = self.run(data, [1], runtime=Runtime(device="cpu", tile=self.tile)).volume.data
        assert close(tiled, whole, self.tolerance)

    def test_the_seed_decides(self) -> None:
        data = _stack().data
        for seed in (0, 7):
            runtime = Runtime(device="cpu", seed=seed)
            one, other = (self.run(data, [MARKED], runtime=runtime) for _ in range(2))
            assert (one.volume.data == other.volume.data).all()
            assert one.provenance["seed"] == seed

    def test_unknown_voxels_do_not_spread(self) -> None:
        volume = with_unknown(_stack("float32"), 0.2)
        drawn = self.run(volume, [MARKED]).volume.data
        others = [z for z in range(SHAPE[0]) if z != MARKED]
        assert np.array_equal(drawn[others], volume.data[others], equal_nan=True)
        assert np.isfinite(drawn[MARKED][np.isfinite(volume.data[MARKED])]).all()

    @pytest.mark.parametrize(("dtype", "fill"), [("uint8", 0), ("float32", np.nan)])
    def test_a_margin_does_not_change_the_tissue(self, dtype: str, fill: float) -> None:
        volume = Phantom(shape=(7, 64, 96), dtype=dtype, drift=0.5).volume()
        empty = margins(volume.shape)
        planted = Volume.of(np.where(empty, volume.data.dtype.type(fill), volume.data))
        plain, drawn = (self.run(v, [MARKED]) for v in (volume, planted))
        below, above = empty[MARKED - 1], empty[MARKED + 1]
        other = np.where(below, volume.data[MARKED + 1], volume.data[MARKED - 1])
        plainly = plain.volume.data[MARKED]
        for where, instead, cost in ((~(below | above), plainly, 0.3), (below ^ above, other, self.alone_db)):
            truth, kept, known = (image[where] for image in (volume.data[MARKED], drawn.volume.data[MARKED], instead))
            peak = float(np.ptp(volume.data))
            assert psnr(kept, truth, peak) > psnr(known, truth, peak) - cost
        gone = below & above
        assert drawn.empty is not None
        np.testing.assert_array_equal(drawn.empty.data[MARKED] > 0, gone)
        np.testing.assert_array_equal(drawn.synthetic.data[MARKED] > 0, ~gone)
        np.testing.assert_array_equal(drawn.volume.data[MARKED][gone], planted.data[MARKED - 1][gone])

    @pytest.mark.parametrize("size", SIZES)
    def test_odd_and_tiny_sizes(self, size: tuple[int, int]) -> None:
        volume = _stack(shape=(3, *size))
        result = self.run(volume, [1])
        assert result.volume.shape == volume.shape
        assert (result.volume.data[[0, 2]] == volume.data[[0, 2]]).all()
        assert (result.synthetic.data[1] == 1).all()

    @pytest.mark.parametrize("section", [0, SHAPE[0] - 1])
    def test_the_ends_are_extrapolated_and_say_so(self, section: int) -> None:
        result = self.run(_stack(), [section])
        (entry,) = result.provenance["sections"]
        assert (entry["below"] is None) != (entry["above"] is None)
        assert entry["note"]
        assert result.volume.data[section].std() > 5

    def test_runs_and_a_good_section_between_two_bad(self) -> None:
        volume = _stack(shape=(9, 40, 40))
        result = self.run(volume, [1, 3, 5, 6, 7])
        entries = {e["section"]: e for e in result.provenance["sections"]}
        assert (entries[1]["below"], entries[1]["above"], entries[1]["t"]) == (0, 2, 0.5)
        assert (entries[3]["below"], entries[3]["above"]) == (2, 4)
        assert [entries[z]["t"] for z in (5, 6, 7)] == [0.25, 0.5, 0.75]
        assert entries[6]["span"] == 4
        intact = [0, 2, 4, 8]
        assert (result.volume.data[intact] == volume.data[intact]).all()

    def test_insertion_keeps_every_acquired_section(self) -> None:
        volume = _stack()
        result = self.run(volume, [2, 5, 5], insert=True)
        made_up, kept = [2, 6, 7], [0, 1, 3, 4, 5, 8, 9]
        assert result.volume.grid == volume.grid.insert_sections(3)
        assert result.volume.grid.origin_nm == volume.grid.origin_nm
        assert (result.volume.data[kept] == volume.data).all()
        assert result.synthetic.data.any(axis=(1, 2)).nonzero()[0].tolist() == made_up
        assert [e["section"] for e in result.provenance["sections"]] == made_up

    def test_provenance_survives_json(self) -> None:
        result = self.run(_stack(), [MARKED], selfcheck=True)
        record = json.loads(json.dumps(result.provenance, allow_nan=False))
        assert record == result.provenance
        assert (record["task"], record["method"]) == (self.task, self.id)
        assert self.spec.params.from_json(record["params"]) == self.spec.params()
        assert (record["weights"] is None) == (not self.spec.weights)
        assert [e["section"] for e in record["sections"]] == [MARKED]
        assert record["sections"][0]["treatment"] == "replaced"

    def test_uncertainty_lives_where_voxels_were_made_up(self) -> None:
        result = self.run(_stack(), [MARKED], selfcheck=True)
        if not self.spec.has_uncertainty:
            assert result.uncertainty is None
            return
        assert result.uncertainty is not None
        half = result.uncertainty.data
        assert half.dtype == np.float32
        assert (half[result.synthetic.data == 0] == 0).all()
        assert (half[MARKED] > 0).mean() > 0.9
        assert half.max() < 255

    def test_better_than_the_nearest_section(self) -> None:
        phantom = Phantom(shape=SHAPE, drift=1.0)
        volume = phantom.volume()
        truth = phantom.clean(MARKED)
        drawn = self.run(volume, [MARKED]).volume.data[MARKED]
        assert psnr(drawn, truth) > psnr(volume.data[MARKED - 1], truth) + self.gain_db

    def test_the_built_method_asks_before_it_computes(self) -> None:
        token = CancelToken()
        token.cancel()
        runtime = Runtime(device="cpu", cancel=token)
        method = self.spec.build(self.spec.params(), runtime, self.weights)
        below, above = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
        with pytest.raises(Cancelled):
            method(Gap(below=below, above=above), runtime)

    def test_cancel_stops_it(self) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            self.run(_stack(), [MARKED], runtime=Runtime(device="cpu", cancel=token))
