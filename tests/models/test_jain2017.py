"""The generators and discriminators of Jain 2017: sizes by hand, laws of the untrained network, tiled = whole."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.models.jain2017 import Config, CriticConfig, Discriminator, generator
from napari_emsynth.nn.residual import PreActivationUnit
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run

KINDS = ("interpolation", "alignment", "superresolution")
# Sizes with all of the paper's modules, and few maps: tests take no time.
SMALL = {kind: Config(kind=kind, maps=3) for kind in KINDS}

# By hand, kernels of 3, two convolutions a module, 50 maps. A 2-D convolution 50 -> 50 has 50*50*9 + 50 = 22 550
# parameters, a 3-D one 50*50*27 + 50 = 67 550.
#   interpolation:    stem 9*50 + 50, 5 modules 10*22 550, fusion 2x3x3 50*50*18 + 50, output 9*50 + 1
#   alignment:        stem 27*50 + 50, 5 modules 10*67 550, middle 67 550, output 27*50 + 1
#   superresolution:  stem 27*50 + 50, 5 modules 10*67 550, transposed 4x3x3 50*50*36 + 50, output 27*50 + 1
PARAMETERS = {
    "interpolation": 500 + 225_500 + 45_050 + 451,
    "alignment": 1_400 + 675_500 + 67_550 + 1_351,
    "superresolution": 1_400 + 675_500 + 90_050 + 1_351,
}
# Every convolution of 3 costs one voxel a side: stem, 5 modules of 2, the middle layer, the output: 1 + 10 + 1 + 1.
# Along z, super-resolution loses stem and 3 modules (7 sections), then, at the doubled rate, 5 for 2 modules and the
# output behind the transposed convolution, which itself needs one neighbour: section 7 of its full output, the first
# that nothing is missing from, lies on section (7 - 1) / 2 = 3 of its input. 7 + 3 = 10.
BORDER = {"interpolation": (0, 13, 13), "alignment": (13, 13, 13), "superresolution": (10, 13, 13)}


def silent(config):
    """A generator whose modules add nothing: what is left is what the initialisation carries through."""
    network = generator(config).eval()
    with torch.no_grad():
        for unit in (*network.before, *network.after):
            unit.convs[-1].weight.zero_()
        network.output.weight[:, 2:] = 0
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_counted_by_hand(kind):
    network = generator(Config(kind=kind))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_border_and_receptive_field_by_hand(kind):
    config = Config(kind=kind)
    assert config.border == BORDER[kind]
    z, y, x = BORDER[kind]
    assert config.receptive_field == (2 if kind == "interpolation" else 2 * z + 1, 2 * y + 1, 2 * x + 1)


def test_operations_counted_by_hand():
    # Both sections pass the stem and 4 slice-wise convolutions; one section the fusion, 6 convolutions, the output.
    by_hand = 2 * (9 * 50 + 4 * 22_500) + 18 * 2_500 + 6 * 22_500 + 9 * 50
    assert Config().multiply_accumulates == by_hand
    assert Config(kind="alignment").multiply_accumulates == 27 * (50 + 11 * 2_500 + 50)
    # For each of the two sections out, half of an input section's stem and 6 convolutions, half of the transposed
    # kernel's 4 sections, 4 convolutions and the output.
    superresolution = Config(kind="superresolution").multiply_accumulates
    assert superresolution == 27 * (50 + 6 * 2_500) / 2 + 18 * 2_500 + 27 * (4 * 2_500 + 50)


@pytest.mark.parametrize(("kernel", "depth"), [(3, 2), (5, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_as_large_as_the_configuration_says(kind, kernel, depth):
    config = Config(kind=kind, maps=2, kernel=kernel, depth=depth)
    z, y, x = config.border
    size = (2 * z + 2, 2 * y + 3, 2 * x + 4)
    network = generator(config).eval()
    with torch.inference_mode():
        if kind == "interpolation":
            assert network(torch.zeros(1, 2, *size[1:])).shape == (1, 1, 3, 4)
        else:
            phases = 2 if kind == "superresolution" else 1
            assert network(torch.zeros(1, 1, *size)).shape == (1, phases, 2, 3, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_the_receptive_field_matters(kind):
    torch.manual_seed(0)
    config = SMALL[kind]
    network = generator(config)
    z, y, x = config.border
    shape = (1, 2, 2 * y + 5, 2 * x + 5) if kind == "interpolation" else (1, 1, 2 * z + 5, 2 * y + 5, 2 * x + 5)
    image = torch.randn(shape, requires_grad=True)
    answer = network(image)
    answer[(0, 0, *(n // 2 for n in answer.shape[2:]))].backward()
    touched = image.grad[0].abs().sum(dim=0) > 0  # [y, x] or [z, y, x]
    for axis, reach in zip(range(touched.ndim), config.receptive_field[-touched.ndim :], strict=True):
        others = tuple(a for a in range(touched.ndim) if a != axis)
        assert int(touched.any(dim=others).sum()) <= reach
    assert int(touched.sum()) > 100


def test_untrained_it_interpolates_linearly():
    network = silent(SMALL["interpolation"])
    pair = torch.randn(2, 2, 30, 31)
    with torch.inference_mode():
        drawn = network(pair)
    torch.testing.assert_close(drawn[:, 0], pair.mean(1)[:, 13:-13, 13:-13], atol=1e-5, rtol=0)


def test_untrained_it_leaves_a_stack_alone():
    network = silent(SMALL["alignment"])
    stack = torch.randn(1, 1, 28, 29, 30)
    with torch.inference_mode():
        torch.testing.assert_close(network(stack), stack[:, :, 13:-13, 13:-13, 13:-13], atol=1e-5, rtol=0)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_second_section_out_lies_on_a_section_in(depth):
    """The parity: phase 0 has an original, phase 1 lies half way to the next."""
    config = Config(kind="superresolution", maps=2, depth=depth)
    z, y, x = config.border
    numbers = torch.arange(2.0 * z + 4)[None, None, :, None, None].expand(1, 1, -1, 2 * y + 1, 2 * x + 1)
    with torch.inference_mode():
        drawn = silent(config)(numbers)[0, :, :, 0, 0]
    expected = torch.arange(z, z + 4.0)
    torch.testing.assert_close(drawn[0], expected)
    torch.testing.assert_close(drawn[1], expected + 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_tiled_equals_whole(kind):
    torch.manual_seed(1)
    config = SMALL[kind]
    network = generator(config).eval()
    rng = np.random.default_rng(0)
    shape = (2, 40, 44) if kind == "interpolation" else (1, 12, 20, 24)
    source = rng.standard_normal(shape).astype(np.float32)
    halo = config.border[1:] if kind == "interpolation" else config.border
    whole = run(network, source, halo=halo, runtime=Runtime(device="cpu"), tile=64)
    tiled = run(network, source, halo=halo, runtime=Runtime(device="cpu"), tile=[7] * (len(shape) - 1))
    assert whole.shape == ((2 if kind == "superresolution" else 1), *shape[1:])
    np.testing.assert_allclose(tiled, whole, atol=2e-5)


def test_a_residual_unit_adds_to_its_cropped_input():
    unit = PreActivationUnit(2, (3, 5, 3), depth=2)
    assert unit.cut == (2, 4, 2)
    x = torch.randn(1, 2, 9, 10, 11)
    with torch.no_grad():
        for conv in unit.convs:
            conv.weight.zero_()
            conv.bias.zero_()
        torch.testing.assert_close(unit(x), x[:, :, 2:-2, 4:-4, 2:-2])


def test_the_discriminator_counted_by_hand():
    # 64 -> 62 -> 31 -> 29 -> 14 -> 12 -> 6 px; two images of 50 maps: 2 * 50 * 36 features and a bias.
    config = CriticConfig(images=2, size=64)
    assert config.left == 6
    assert config.features == 3_600
    network = Discriminator(config)
    assert sum(p.numel() for p in network.parameters()) == 500 + 2 * 22_550 + 3_601
    assert network(torch.zeros(5, 2, 64, 64)).shape == (5,)


def test_the_discriminator_treats_its_images_alike():
    torch.manual_seed(0)
    network = Discriminator(CriticConfig(images=2, size=32, maps=4)).eval()
    half = network.config.features // 2
    with torch.no_grad():
        network.decide.weight[0, half:] = network.decide.weight[0, :half]
        a, b = torch.randn(2, 3, 1, 32, 32)
        torch.testing.assert_close(network(torch.cat((a, b), 1)), network(torch.cat((b, a), 1)))


def test_too_small_an_image_for_the_discriminator_is_said():
    with pytest.raises(InputError, match="more than 20 px"):
        Discriminator(CriticConfig(size=20))
