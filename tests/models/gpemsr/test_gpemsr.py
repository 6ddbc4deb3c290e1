"""GPEMSR put together: sizes, where it starts, where its pixels lie, and what each part can be left out for."""

from dataclasses import replace

import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.models import single_stage
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config, direct_path, founded
from napari_emsynth.models.single_stage import SingleStage
from napari_emsynth.nn.lateral import enlarged

TINY = Config(
    references=3, width=4, blocks=1, rebuild=1, deep=6, fine=(4,), groups=2, code_widths=(4, 4, 4, 6, 6), code_blocks=1,
    codes=9, dimension=5, code_groups=0, reach=1, critic=(4,), index_width=4, index_blocks=1, flow_levels=2,
    flow_widths=(4,), flow_kernel=3, mask_width=4,
)  # fmt: skip


def network(config=TINY, seed=0):
    torch.manual_seed(seed)
    net = GPEMSR(config).eval()
    torch.nn.init.normal_(net.reconstruction.head.weight, std=0.1)  # it starts at zero; give it something to say
    return net


def sections(edge=8, n=5, seed=1):
    return torch.randn(2, n, edge, edge + 4, generator=torch.Generator().manual_seed(seed))


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_papers_configuration_can_be_built_and_counted():
    def conv(a, b, edge=3):
        return edge * edge * a * b + b

    net = GPEMSR(Config.paper(16))
    # Five residual blocks of two 64 -> 64 behind a stem.
    assert count(net.stem) + count(net.blocks) == conv(1, 64) + 10 * conv(64, 64)
    # Decoder features of 512, 256, 128 and 64 maps at 1/16 to 1/2, three halvings, one that merges; no biases.
    assert count(net.mpf) == 9 * 64 * (512 + 256 + 128 + 64) + (3 * 16 + 9) * 64 * 64
    assert len(GPEMSR(replace(TINY, factor=8)).mpf.project) == 3
    # Every deformable convolution has a head for 8 groups of 9 taps, two offsets and a modulation each.
    guided = conv(64, 8 * 27) + conv(64, 64)
    level = conv(130, 64) + conv(128, 64) + guided + conv(128, 64)
    coarsest = conv(130, 64) + conv(64, 64) + guided
    assert count(net.pod) == 2 * conv(64, 64, 4) + 2 * level + coarsest + conv(128, 64) + guided
    assert count(net.reconstruction) == 21 * conv(64, 64) + 4 * conv(64, 256) + conv(64, 2)
    assert count(net.indexer) == conv(1, 256) + 16 * conv(256, 256) + conv(256, 1024, 1)
    assert Config.paper().multiple == 8
    assert Config.slim().multiple == 4


@pytest.mark.parametrize("factor", [8, 16])
def test_the_slim_configuration_has_all_parts_in_twelve_megabytes(factor):
    config = Config.slim(factor)
    assert config.mpf
    assert config.pod
    assert config.attention
    size = sum(2 * v.numel() for v in GPEMSR(config).state_dict().values())
    assert size < 12e6


@pytest.mark.parametrize("factor", [8, 16])
def test_training_starts_at_bicubic_enlargement(factor):
    torch.manual_seed(0)
    answer = GPEMSR(replace(TINY, factor=factor)).eval()(sections())
    shape = (2, 1, 8 * factor, 12 * factor)
    assert answer.mean.shape == answer.log_scale.shape == answer.mask.shape == shape
    torch.testing.assert_close(answer.mean, enlarged(sections()[:, 2:3], factor))
    assert (answer.log_scale == -1).all()
    assert (answer.mask >= 0).all()
    assert (answer.mask <= 1).all()
    assert answer.mask.std() > 0


@torch.no_grad()
def symmetric(net):
    """Make every kernel its own mirror image along y and x: what mirrors the input then mirrors the answer."""
    shuffled = set(net.reconstruction.doublings)
    for layer in net.modules():
        weight = getattr(layer, "weight", None)
        if weight is None or weight.ndim < 4:
            continue
        if layer in shuffled:  # the four maps of a pixel shuffle change places with the kernel's two sides
            maps = weight.view(-1, 2, 2, *weight.shape[1:])
            maps.copy_((maps + maps.flip(1, -2)) / 2)
            maps.copy_((maps + maps.flip(2, -1)) / 2)
        else:
            weight.copy_((weight + weight.flip(-2)) / 2)
            weight.copy_((weight + weight.flip(-1)) / 2)
    return net


@pytest.mark.parametrize("factor", [8, 16])
def test_no_part_moves_the_grid(factor):
    # If any part were off by half a pixel of its own level, mirrored sections would not give mirrored answers.
    net = symmetric(network(replace(TINY, factor=factor)))
    with torch.no_grad():
        answer = net(sections())
        for axis in (2, 3):
            turned = net(sections().flip(axis))
            for here, there in zip(answer, turned, strict=True):
                torch.testing.assert_close(there, here.flip(axis), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("factor", [8, 16])
def test_a_nudge_is_answered_about_its_own_place(factor):
    net = symmetric(network(replace(TINY, factor=factor)))
    n = 16
    x = torch.zeros(1, 5, n, n)
    nudged = x.clone()
    nudged[:, :, n // 2 - 1 : n // 2 + 1, n // 2 - 1 : n // 2 + 1] = 1.0
    with torch.no_grad():
        change = (net(nudged).mean - net(x).mean)[0, 0].abs()
    assert change.max() > 0.1
    rows = torch.arange(n * factor, dtype=torch.float32)
    for axis in (0, 1):
        mass = change.sum(dim=1 - axis)
        assert float((mass * rows).sum() / mass.sum()) == pytest.approx(factor * n / 2 - 0.5, abs=0.1)


@pytest.mark.parametrize("factor", [8, 16])
def test_the_prior_lies_on_the_low_resolution_grid(factor):
    net = network(replace(TINY, factor=factor))
    assert factor * 2**net.config.halvings == 16
    prior = net.prior(sections()[:, 2:3])
    assert [f.shape[-1] // 12 for f in prior.features] == ([1, 2, 4] if factor == 8 else [1, 2, 4, 8])
    assert prior.reference.shape == (2, 1, 8 * factor, 12 * factor)
    assert prior.mask.shape == (2, 1, 8 * factor // 16, 12 * factor // 16)


@pytest.mark.parametrize("factor", [8, 16])
def test_a_direct_network_starts_as_a_single_stage_one(factor):
    sizes = {"sections": 5, "blocks": 1, "fine": (4,), "factor": factor}
    torch.manual_seed(3)
    plain = SingleStage(single_stage.Config(width=6, **sizes)).eval()
    torch.nn.init.normal_(plain.head.weight, std=0.1)
    net = network(replace(TINY, factor=factor, direct=True))
    assert founded(net, plain.state_dict())
    torch.nn.init.normal_(net.widen.bias)
    back = direct_path(net.state_dict())
    assert torch.equal(back["stem.bias"], plain.state_dict()["stem.bias"] + net.widen.bias)
    torch.nn.init.zeros_(net.widen.bias)
    back = direct_path(net.state_dict())
    assert back.keys() == plain.state_dict().keys()
    assert all(torch.equal(back[k], v) for k, v in plain.state_dict().items())
    mean, log_scale = plain(sections())
    answer = net(sections())
    torch.testing.assert_close(answer.mean, mean)
    torch.testing.assert_close(answer.log_scale, log_scale)
    # What the prior and the alignment say is listened to from the first step on.
    answer.mean.square().mean().backward()
    assert float(net.widen.weight.grad.abs().sum()) > 0
    # What does not fit is left alone.
    before = net.direct.weight.detach().clone()
    assert not founded(net, SingleStage(single_stage.Config(width=8, **sizes)).state_dict())
    assert not founded(network(replace(TINY, factor=factor)), plain.state_dict())
    assert torch.equal(net.direct.weight, before)


@pytest.mark.parametrize("factor", [8, 16])
def test_codes_and_their_trust_know_nothing_beyond_the_halo(factor):
    config = replace(TINY, factor=factor, unit=True)
    assert config.halo % config.multiple == 0
    net, halo = network(config), config.halo
    torch.nn.init.normal_(net.mask.out.weight, std=0.5)
    low = torch.randn(
        1, 1, 4, 4 * halo // config.multiple * config.multiple + 8, generator=torch.Generator().manual_seed(1)
    )
    other = low.clone()
    edge = low.shape[-1] // 2 - halo
    other[..., :edge] = torch.randn(1, 1, 4, edge, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        one, two = net.prior(low), net.prior(other)
    for a, b in ((one.mask, two.mask), *zip(one.features, two.features, strict=True)):
        half = a.shape[-1] // 2
        torch.testing.assert_close(a[..., half:], b[..., half:])
        assert not torch.allclose(a[..., :half], b[..., :half])


def test_identical_patches_are_trusted_wholly():
    net = network()
    low = sections()[:, 2:3]
    assert (net._mask(low, enlarged(low, 8)) == 1).all()
    assert net._mask(low, enlarged(-low, 8)).mean() < 0.7


@pytest.mark.parametrize("switch", ["mpf", "pod", "attention"])
def test_every_part_can_be_left_out(switch):
    net = network(replace(TINY, **{switch: False}))
    answer = net(sections())
    assert answer.mean.shape == (2, 1, 64, 96)
    assert count(net) < count(network())
    if switch == "mpf":
        assert (answer.mask == 0).all()


def test_every_section_counts():
    net = network()
    whole = net(sections()).mean
    for i in range(5):
        x = sections()
        x[:, i] = sections(seed=2)[:, i]
        assert not torch.allclose(net(x).mean, whole)


def test_references_are_those_of_the_middle_sections():
    seen = []
    for references in (1, 3, 5):
        net = network(replace(TINY, references=references))
        net.indexer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
        net(sections())
        first = (5 - references) // 2
        wanted = sections()[:, first : first + references].reshape(-1, 1, 8, 12)
        torch.testing.assert_close(seen[-1], wanted)


def test_gradients_reach_everything_that_stage_three_trains():
    net = network().train()
    for head in [level.deform.head for level in net.pod.levels] + [net.pod.last.head, net.fusion.head]:
        torch.nn.init.normal_(head.weight, std=0.1)
    torch.nn.init.normal_(net.mask.out.weight, std=0.1)
    answer = net(sections())
    (answer.mean.square().mean() + answer.log_scale.square().mean()).backward()
    for part in (net.stem, net.blocks, net.mask, net.mpf, net.pod, net.fusion, net.widen, net.reconstruction):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    # Codes are looked up: the indexer learns in a stage of its own.
    assert all(p.grad is None for p in net.indexer.parameters())


def test_configurations_survive_json_and_nonsense_is_refused():
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(Config.slim(16)).items()}
    assert Config.from_json(plain) == Config.slim(16)
    for wrong, words in (
        ({"factor": 32}, "power of two from 2 to 16"),
        ({"factor": 12}, "power of two"),
        ({"sections": 4}, "odd number"),
        ({"references": 7}, "more than the 5 sections"),
        ({"groups": 7}, "7 groups"),
        ({"compare": 5}, "after 1 to 4 halvings"),
        ({"codes": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=words):
            Config(**wrong)
