"""From the nodes of ssEMnet's vector map to pixels."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.lattice import node_places
from napari_emsynth.methods.align.ssemnet.grid import DENSER, INTERPOLATIONS, MOST_NODES, Grid, resampled, thin_plate

NODES, SHAPE = (5, 7), (160, 210)
CPU = torch.device("cpu")


def grid(kind, nodes=NODES, shape=SHAPE, places=None):
    return Grid.of(kind, nodes, shape, places or tuple(np.arange(n, dtype=float) for n in shape), CPU)


def nodes_of(f, nodes=NODES, shape=SHAPE):
    y, x = (node_places(n, s) for n, s in zip(nodes, shape, strict=True))
    return torch.from_numpy(f(y[:, None], x[None]).astype(np.float32))[None]


def positions(nodes):
    axes = (node_places(n, s) for n, s in zip(nodes, SHAPE, strict=True))
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


def random_map(nodes=NODES):
    return torch.randn(3, 2, *nodes, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=INTERPOLATIONS)
def kind(request):
    return request.param


@pytest.mark.parametrize("nodes", [NODES, (1, 1), (1, 4), (2, 2)])
def test_constants_come_out_exactly(kind, nodes):
    torch.testing.assert_close(grid(kind, nodes)(torch.ones(1, 2, *nodes)), torch.ones(1, 2, *SHAPE))


@pytest.mark.parametrize("nodes", [NODES, (2, 2), (3, 8)])
def test_linear_maps_come_out_exactly_at_the_faces_too(kind, nodes):
    def plane(y, x):
        return np.stack((0.1 * y - 0.05 * x + 1, 0.02 * y + 0.1 * x))

    expected = torch.from_numpy(plane(*np.mgrid[: SHAPE[0], : SHAPE[1]]).astype(np.float32))[None]
    torch.testing.assert_close(grid(kind, nodes)(nodes_of(plane, nodes)), expected, atol=1e-4, rtol=0)


def test_every_node_is_met(kind):
    v = random_map()
    at = tuple(node_places(n, s) for n, s in zip(NODES, SHAPE, strict=True))
    torch.testing.assert_close(grid(kind, places=at)(v), v, atol=1e-5, rtol=0)


def test_a_crop_equals_the_crop_of_the_whole(kind):
    whole = grid(kind)
    v, y, x = random_map(), slice(31, 90), slice(100, 210)
    torch.testing.assert_close(whole(v, y, x), whole(v)[..., y, x])


def test_pixels_of_a_binned_section_lie_between_those_of_the_whole(kind):
    v = random_map()
    places = tuple(2 * np.arange(s // 2) + 0.5 for s in SHAPE)
    means = torch.nn.functional.avg_pool2d(grid(kind)(v), 2)
    torch.testing.assert_close(grid(kind, places=places)(v), means, atol=0.1, rtol=0)


def test_bilinear_by_hand():
    row = grid("bilinear", (1, 2), (1, 8))(torch.tensor([[[[0.0, 4.0]], [[0.0, 0.0]]]]))
    # Nodes at px 1.5 and 5.5; one a px between them, and beyond.
    torch.testing.assert_close(row[0, 0, 0], torch.arange(8.0) - 1.5)


def test_bicubic_is_the_field_that_is_applied_in_the_end():
    v = random_map()
    field = Displacement(v.numpy(), (3, *SHAPE))
    applied = np.stack([field.dense(z) for z in range(3)])
    assert np.abs(grid("bicubic")(v).numpy() - applied).max() < 1e-5


def test_thin_plate_against_scipy():
    v = random_map()[0]
    known, dense = (positions((f * NODES[0], f * NODES[1])) for f in (1, DENSER))
    spline = RBFInterpolator(known, v.numpy().reshape(2, -1).T, kernel="thin_plate_spline", degree=1)
    ours = thin_plate(NODES, SHAPE) @ v.numpy().reshape(2, -1).T
    assert np.abs(ours - spline(dense)).max() < 1e-4


def test_the_interpolations_differ():
    found = [grid(k)(random_map()) for k in INTERPOLATIONS]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert float((found[a] - found[b]).abs().max()) > 0.02


def test_too_many_nodes_for_a_full_matrix():
    with pytest.raises(InputError, match=f"1640 nodes is above the limit of {MOST_NODES} nodes"):
        grid("thin-plate", (40, 41), (1280, 1312))


def test_resampled_keeps_linear_maps():
    def plane(y, x):
        return np.stack((0.1 * y - 0.05 * x, 0.02 * y + 0.1 * x))

    coarse, fine = nodes_of(plane), nodes_of(plane, (10, 13))
    torch.testing.assert_close(resampled(coarse, (10, 13)), fine, atol=1e-4, rtol=0)
    assert resampled(coarse, NODES) is coarse
