"""Blocks larger than a section's block size, and what dask computes when."""

import dask
import dask.array as da
import numpy as np

from napari_emsynth.methods.interpolate import job as job_module, render
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.trust.features import REACH
from napari_emsynth.trust.intact import SIDE


def stack():
    return np.random.default_rng(0).integers(0, 255, (9, 70, 90)).astype(np.uint8)


def test_sections_rendered_in_blocks_equal_whole_ones(monkeypatch):
    whole = interpolate(stack(), [4], method="linear")
    monkeypatch.setattr(render.blocks, "__defaults__", (32,))
    cut = interpolate(stack(), [4], method="linear")
    lazy = interpolate(da.from_array(stack()), [4], method="linear")
    np.testing.assert_array_equal(cut.volume.data, whole.volume.data)
    np.testing.assert_array_equal(lazy.volume.data.compute(scheduler="synchronous"), whole.volume.data)
    assert len(lazy.volume.data.chunks[1]) == 3


def test_reading_acquired_sections_computes_no_repair(monkeypatch):
    lazy = interpolate(da.from_array(stack(), chunks=(1, 70, 90)), [4], method="linear")
    drawn = []
    render_one = job_module.Job.render
    monkeypatch.setattr(
        job_module.Job, "render", lambda self, *args: drawn.append(args[0].section) or render_one(self, *args)
    )
    lazy.volume.data[2].compute(scheduler="synchronous")
    assert drawn == []
    lazy.volume.data[4].compute(scheduler="synchronous")
    assert drawn == [4]


def test_arrays_read_together_share_the_synthesis(monkeypatch):
    lazy = interpolate(da.from_array(stack()), [4], method="linear")
    drawn = []
    render_one = job_module.Job.render
    monkeypatch.setattr(
        job_module.Job, "render", lambda self, *args: drawn.append(args[0].section) or render_one(self, *args)
    )
    dask.compute(lazy.volume.data[4], lazy.uncertainty.data[4], lazy.synthetic.data[4], scheduler="synchronous")
    assert drawn == [4]


def test_setting_up_a_lazy_result_does_not_read_the_whole_volume():
    read = []

    def block(block_id):
        read.append(block_id[0])
        return np.random.default_rng(block_id[0]).integers(0, 255, (1, 64, 64)).astype(np.uint8)

    volume = da.map_blocks(block, chunks=((1,) * 400, (64,), (64,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    interpolate(volume, [200], method="linear")
    assert len(set(read)) <= 2 * SIDE + 1 + REACH
