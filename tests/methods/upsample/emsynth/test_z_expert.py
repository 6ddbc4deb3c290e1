"""Laws of the expert that looks along z: what it sees, and that no section depends on how a volume is cut."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.emsynth.z_expert import ACQUIRED, Between, between
from napari_emsynth.methods.upsample.kriging import kriged
from napari_emsynth.methods.upsample.likeness import Likeness
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.models.interpolation_unet import Config, InterpolationUNet
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom

CPU = Runtime(device="cpu")
TINY = Config(widths=(8, 8))


@pytest.fixture(scope="module")
def fine():
    return Phantom(shape=(49, 40, 48)).volume().read(slice(None)).astype(np.float32) / 40 - 3


def network(moved=0.02):
    torch.manual_seed(0)
    net = InterpolationUNet(TINY).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(moved * torch.randn_like(p))
    return net


@pytest.mark.parametrize("factor", [2, 4, 2.5])
def test_an_untrained_network_answers_by_kriging(fine, factor):
    thick = fine[::4]
    ask = Ask(range(1, 24), factor, "point")
    mean, scale = between(InterpolationUNet(TINY).eval(), thick, ask, CPU)
    expected, _ = kriged(thick, ask, ask.positions)
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    assert (scale > 0).all()


def test_acquired_sections_are_copied_and_sure(fine):
    thick = degraded(fine, 4, "point")
    mean, scale = between(network(), thick, Ask(range(2, 11), 4, "point"), CPU)
    np.testing.assert_array_equal(mean[[2, 6]], thick[1:3])
    assert (scale[[2, 6]] == np.float32(ACQUIRED)).all()
    assert (np.delete(scale, [2, 6], axis=0) > 0.01).all()


def test_a_run_of_sections_is_that_part_of_the_whole(fine):
    net, thick = network(), degraded(fine, 4, "point")
    whole, whole_scale = between(net, thick, Ask(range(44), 4, "point"), CPU)
    # As a job would read it: cut somewhere, told where the cut is.
    part, part_scale = between(net, thick[3:], Ask(range(23, 26), 4, "point", origin=3), CPU)
    np.testing.assert_allclose(part, whole[23:26], atol=1e-5)
    np.testing.assert_allclose(part_scale, whole_scale[23:26], atol=1e-5)


class Spy(torch.nn.Module):
    config = TINY

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, sides, clues):
        self.seen.append(([s[0, 0, 0, 0].item() for s in sides], [c[0].item() for c in clues]))
        return sides.base, torch.zeros_like(sides.base)


def test_it_is_shown_two_sections_on_each_side_and_where_it_stands():
    spy = Spy()
    x = torch.tensor([2.0, 3, 1, 4, 2.25, 2.75]).reshape(1, 6, 1, 1).expand(1, 6, 16, 16)
    answer = Between(spy, [(0.25,) * 7, (0.75,) * 7])(x)
    assert answer[0, :, 0, 0].tolist() == [2.25, 0, 2.75, 0]
    assert spy.seen == [([2, 3, 1, 4, 2.25], [0.25] * 7), ([2, 3, 1, 4, 2.75], [0.75] * 7)]


def test_distances_are_told_in_fine_sections_and_the_rest_of_the_whole_volume():
    spy, block = Spy(), np.arange(1, 6, dtype=np.float32)[:, None, None] * np.ones((5, 16, 16), np.float32)
    ask = Ask(range(6, 7), 4, "point", likeness=Likeness(alike=0.5, noise=0.25))
    between(spy, block, ask, CPU)
    (sides, clues), *more = spy.seen
    assert not more
    assert sides[:4] == [2, 3, 1, 4]
    assert clues[:6] == pytest.approx([0.5, 4, 2 / 6, 2 / 6, 0.25, 0.5])


def test_at_an_end_the_far_section_is_missing_and_said_so():
    spy, block = Spy(), np.ones((3, 16, 16), np.float32)
    between(spy, block, Ask(range(1, 2), 2, "point"), CPU)
    (sides, clues), *_ = spy.seen
    assert sides[2] == 0
    assert clues[2] == 0
    assert clues[3] == pytest.approx(1 / 3)


def test_turning_the_volume_turns_the_answer_of_a_network_that_has_no_direction(fine):
    net = InterpolationUNet(TINY).eval()
    thick = degraded(fine, 3, "point")
    one, _ = between(net, thick, Ask(range(1, 9), 3, "point"), CPU)
    other, _ = between(net, thick.swapaxes(1, 2), Ask(range(1, 9), 3, "point"), CPU)
    np.testing.assert_allclose(one, other.swapaxes(1, 2), atol=1e-5)
