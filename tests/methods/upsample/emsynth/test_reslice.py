"""Laws of the reslice expert: what is stretched, and that no plane depends on how a volume is cut."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.acquisition import degraded, shares
from napari_emsynth.methods.upsample.emsynth.reslice import (
    PX,
    Reslices,
    acquired_rows,
    mirrored,
    places_of,
    reach,
    reslice,
    started,
    stretched,
)
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.models.reslice_unet import Config, ResliceUNet, facts_of
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom

CPU = Runtime(device="cpu")


@pytest.fixture(scope="module")
def fine():
    return Phantom(shape=(48, 56, 64)).volume().read(slice(None)).astype(np.float32) / 40 - 3


def network(moved=0.02):
    torch.manual_seed(0)
    net = ResliceUNet(Config(widths=(8, 8))).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(moved * torch.randn_like(p))
    return net


@pytest.mark.parametrize("factor", [2, 4, 2.5])
def test_stretching_keeps_slab_means(fine, factor):
    thick = degraded(fine, factor, "slab")
    sections = range(int(len(thick) * factor))
    again = stretched(thick, factor, "slab", sections)
    matrix = shares(factor, sections, range(len(thick)))
    whole = matrix.sum(axis=1) > 0.999
    assert whole.sum() >= len(thick) - 1
    kept = np.tensordot(matrix, again, 1)
    np.testing.assert_allclose(kept[whole], thick[whole], atol=1e-4 if factor == int(factor) else 0.02)


def test_stretching_keeps_acquired_sections(fine):
    thick = degraded(fine, 3, "point")
    again = stretched(thick, 3, "point", range(46))
    np.testing.assert_allclose(again[::3], thick, atol=1e-6)
    assert acquired_rows(3, "point", range(7)).tolist() == [True, False, False] * 2 + [True]


def test_places_count_from_the_centre_below():
    np.testing.assert_allclose(places_of(4, "point", range(5)), [0, 0.25, 0.5, 0.75, 0])
    np.testing.assert_allclose(places_of(2, "slab", range(3)), [0.75, 0.25, 0.75])
    assert not acquired_rows(3, "slab", range(9)).any()


def test_ends_are_mirrored_at_centres_or_faces():
    block = np.arange(4, dtype=np.float32)[:, None]
    assert mirrored(block, 2, "point").ravel().tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert mirrored(block, 2, "slab").ravel().tolist() == [1, 0, 0, 1, 2, 3, 3, 2]


@pytest.mark.parametrize("sides", [True, False])
@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_an_untrained_network_answers_where_it_starts(fine, sides, sampling):
    thick = degraded(fine, 4, sampling)
    ask = Ask(range(44), 4, sampling)
    mean, scale = reslice(ResliceUNet(Config(widths=(8, 8))).eval(), thick, ask, CPU, sides=sides)
    assert mean.shape == scale.shape == (44, *fine.shape[1:])
    start, _ = started(thick, ask, range(44), "plane" if sides else "row")
    np.testing.assert_allclose(mean, start, atol=1e-4)


@pytest.mark.parametrize("factor", [2, 4, 2.5])
def test_a_start_keeps_slab_means(fine, factor):
    thick = degraded(fine, factor, "slab")
    sections = range(int(len(thick) * factor))
    again, _ = started(thick, Ask(sections, factor, "slab"), sections, "plane")
    matrix = shares(factor, sections, range(len(thick)))
    whole = matrix.sum(axis=1) > 0.999
    kept = np.tensordot(matrix, again, 1)
    np.testing.assert_allclose(kept[whole], thick[whole], atol=1e-4 if factor == int(factor) else 0.02)


def test_transposing_the_volume_transposes_the_answer(fine):
    net, thick = network(), degraded(fine, 4, "slab")
    one, _ = reslice(net, thick, Ask(range(16, 32), 4, "slab"), CPU)
    other, _ = reslice(net, thick.swapaxes(1, 2), Ask(range(16, 32), 4, "slab"), CPU)
    np.testing.assert_allclose(one, other.swapaxes(1, 2), atol=1e-4)


def test_a_run_of_sections_is_that_part_of_the_whole():
    deep = Phantom(shape=(96, 40, 48)).volume().read(slice(None)).astype(np.float32) / 40 - 3
    net, thick = network(), degraded(deep, 4, "point")
    whole, whole_scale = reslice(net, thick, Ask(range(93), 4, "point"), CPU)
    # As a job would read it: sections 11 to 13 and 7 more on each side.
    part, part_scale = reslice(net, thick[4:21], Ask(range(44, 49), 4, "point", origin=4), CPU)
    np.testing.assert_allclose(part, whole[44:49], atol=5e-3)
    np.testing.assert_allclose(part_scale, whole_scale[44:49], atol=5e-3)


def test_both_directions_are_weighed_by_their_scales(fine):
    net = network(0.1)
    facts = facts_of(4, True, sides=True)
    x = torch.from_numpy(
        np.stack((fine[:16], np.broadcast_to(places_of(4, "slab", range(16))[:, None, None], fine[:16].shape)))
    )
    both = Reslices(net, facts, PX)(x[None])[0]
    assert both.shape == (2, 16, 56 - 2 * PX, 64 - 2 * PX)
    with torch.no_grad():
        y, z = 20, 30
        xz = net(x[0, :, y - 2 : y + 3].transpose(0, 1)[None], x[1, :, 0, 0][None], torch.tensor([facts]))
        yz = net(x[0, :, :, z - 2 : z + 3].permute(2, 0, 1)[None], x[1, :, 0, 0][None], torch.tensor([facts]))
    m = [xz[0][0, 0, :, z], yz[0][0, 0, :, y]]
    s = [xz[1][0, 0, :, z], yz[1][0, 0, :, y]]
    w = [torch.exp(-2 * v) for v in s]
    expected = (w[0] * m[0] + w[1] * m[1]) / (w[0] + w[1])
    torch.testing.assert_close(both[0, :, y - PX, z - PX], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("factor", "rows"), [(2, 16), (8, 16), (8.5, 32), (12, 32)])
def test_it_looks_as_far_as_two_sections(factor, rows):
    assert reach(factor) == rows
