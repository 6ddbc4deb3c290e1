"""Laws of the expert that looks along z: what it sees, and that no section depends on how a volume is cut."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.between import Between, between
from napari_emsynth.methods.upsample.reslice import stretched
from napari_emsynth.methods.upsample.upsampler import Ask
from napari_emsynth.models.reslice_unet import Config, ResliceUNet, facts_of
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom

CPU = Runtime(device="cpu")
TINY = Config(widths=(8, 8))


@pytest.fixture(scope="module")
def fine():
    return Phantom(shape=(48, 40, 48)).volume().read(slice(None)).astype(np.float32) / 40 - 3


def network(moved=0.02):
    torch.manual_seed(0)
    net = ResliceUNet(TINY).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(moved * torch.randn_like(p))
    return net


@pytest.mark.parametrize(("factor", "sampling"), [(4, "point"), (4, "slab"), (2.5, "slab")])
def test_an_untrained_network_answers_the_stretched_volume(fine, factor, sampling):
    thick = degraded(fine, factor, sampling)
    inner = range(12, 30)
    mean, scale = between(ResliceUNet(TINY).eval(), thick, Ask(inner, factor, sampling), CPU)
    assert mean.shape == scale.shape == (18, 40, 48)
    assert (scale > 0).all()
    np.testing.assert_allclose(
        mean, stretched(thick, factor, sampling, range(48))[12:30], atol=1e-4 if factor == 4 else 0.05
    )


@pytest.mark.parametrize(("factor", "sampling"), [(4, "point"), (4, "slab")])
def test_a_run_of_sections_is_that_part_of_the_whole(fine, factor, sampling):
    net, thick = network(), degraded(fine, factor, sampling)
    whole, whole_scale = between(net, thick, Ask(range(44), factor, sampling), CPU)
    # As a job would read it: cut somewhere, told where the cut is.
    part, part_scale = between(net, thick[1:], Ask(range(23, 26), factor, sampling, origin=1), CPU)
    np.testing.assert_allclose(part, whole[23:26], atol=1e-5)
    np.testing.assert_allclose(part_scale, whole_scale[23:26], atol=1e-5)


def test_it_is_shown_two_sections_on_each_side_and_where_it_stands():
    seen = {}

    class Spy(torch.nn.Module):
        config = TINY

        def forward(self, planes, places, facts):
            seen.update(
                planes=planes[0, :, 0, 0].tolist(), place=places[0, 0].item(), facts=facts[0].tolist()
            )
            return planes[:, 2:3], torch.zeros_like(planes[:, 2:3])

    # Sections are what their number says, those that cubic interpolation makes too.
    x = torch.tensor([1.0, 2, 3, 4, 2.25, 2.75]).reshape(1, 6, 1, 1).expand(1, 6, 16, 16)
    answer = Between(Spy(), (0.25, 0.75), facts_of(4, slab=False, sides=True))(x)
    assert answer[0, :, 0, 0].tolist() == [2.25, 0, 2.75, 0]
    assert seen == {"planes": [1, 2, 2.75, 3, 4], "place": 0.75, "facts": [0.5, 0.0, 1.0]}


def test_turning_the_volume_turns_the_answer_of_a_network_that_has_no_direction(fine):
    net = ResliceUNet(TINY).eval()
    thick = degraded(fine, 3, "point")
    one, _ = between(net, thick, Ask(range(1, 9), 3, "point"), CPU)
    other, _ = between(net, thick.swapaxes(1, 2), Ask(range(1, 9), 3, "point"), CPU)
    np.testing.assert_allclose(one, other.swapaxes(1, 2), atol=1e-5)
