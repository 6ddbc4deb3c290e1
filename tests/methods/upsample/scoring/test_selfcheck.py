"""The self-check decides how far a method is followed, at the distances that are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.methods.upsample.linear import Linear
from napari_emsynth.methods.upsample.protocol import Expert
from napari_emsynth.methods.upsample.scoring import selfcheck
from napari_emsynth.methods.upsample.scoring.selfcheck import check_in_plane, followed
from napari_emsynth.methods.upsample.task import upsample
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(10, 48, 40), voxel_nm=(40.0, 10.0, 10.0)).volume()


class Bold:
    """Linear interpolation and something on top that nobody can have seen."""

    def __init__(self, noise):
        self.noise = noise

    def halo(self, factor):
        return (0, 0, 0)

    def __call__(self, block, ask, runtime):
        mean = Linear()(block, ask, runtime)[0].mean
        wild = self.noise * np.random.default_rng(0).standard_normal(mean.shape).astype(np.float32)
        return [Expert("bold", mean + wild, np.ones_like(mean))]

    in_plane = __call__


def spec(noise):
    return MethodSpec(
        task="upsample",
        id="bold",
        title="Bold",
        summary="Linear interpolation with noise.",
        build=lambda params, runtime, weights: Bold(noise),
        has_uncertainty=True,
        samplings=("point", "slab"),
    )


@pytest.mark.parametrize(("share", "expected"), [(-0.5, 0), (0, 0), (0.4, 0.4), (1, 1), (3, 1)])
def test_a_method_is_followed_to_where_it_is_nearest_to_the_truth(share, expected):
    linear, step = np.random.default_rng(0).normal(size=(2, 4, 8, 8))
    assert followed(linear + step, linear, linear + share * step) == pytest.approx(expected)


def test_a_method_that_says_what_linear_says_is_followed():
    same = np.ones((2, 4, 4))
    assert followed(same, same, same + 1) == 1


@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_what_is_invented_is_not_believed(install, sampling):
    install(spec(1.0))
    result = upsample(STACK, 4, sampling=sampling, method="bold")
    record = result.provenance
    assert record["departure"] < 0.1
    assert any("hardly beats linear" in line for line in record["notices"])
    # The scores are those of what is delivered.
    baseline = record["selfcheck"].get("linear_back_projected", record["selfcheck"]["linear"])
    assert record["selfcheck"]["psnr"] == pytest.approx(baseline, abs=0.3)
    linear = upsample(STACK, 4, sampling=sampling, method="linear", selfcheck=False).volume.data
    off = np.abs(result.volume.data.astype(int) - linear.astype(int))
    alone = upsample(STACK, 4, sampling=sampling, method="bold", selfcheck=False).volume.data
    assert off.mean() < 0.2 * np.abs(alone.astype(int) - linear.astype(int)).mean()


@pytest.mark.parametrize(("method", "start"), [("emsynth", "kriging"), ("linear", "linear")])
@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_a_method_that_is_not_followed_at_all_gives_what_it_starts_from(method, start, sampling):
    volume = Volume.of(STACK.data[:6])
    jobs = [
        Job.of(
            Request.of("upsample", volume, m, weights=None, params=None, runtime=Runtime(device="cpu")),
            Lattice(6, 2, sampling),
        )
        for m in (method, start)
    ]
    assert jobs[0].start == start
    box = slice(0, 8), slice(4, 40), slice(0, 40)
    nothing, expected = replace(jobs[0], blend_weight=0.0)(box, Runtime()), jobs[1](box, Runtime())
    np.testing.assert_array_equal(nothing, expected)


def test_methods_that_cannot_be_asked_in_plane_are_followed_all_the_way():
    assert upsample(STACK, 2, method="linear").provenance["departure"] is None


@pytest.mark.parametrize(
    ("voxel_nm", "sampling", "expected"),
    [((40, 10, 10), "slab", 4), ((35, 10, 10), "point", 4), (None, "slab", 2), ((10, 10, 10), "point", 2)],
)
def test_rows_are_as_far_apart_as_sections(install, monkeypatch, voxel_nm, sampling, expected):
    install(spec(0.0))
    asked = []
    hide = selfcheck.hide_in_plane

    def spy(volume, factor, *args, **kwargs):
        asked.append(factor)
        return hide(volume, factor, *args, **kwargs)

    monkeypatch.setattr(selfcheck, "hide_in_plane", spy)
    request = Request.of(
        "upsample",
        Volume.of(STACK.data, voxel_nm=voxel_nm),
        "bold",
        weights=None,
        params=None,
        runtime=Runtime(device="cpu"),
    )
    check_in_plane(request, Lattice(10, 2, sampling))
    assert asked == [expected]
