"""Stage I: nearest codes, gradients straight through, dead codes, sizes by hand, and tiles that know enough."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from napari_emsynth.errors import InputError
from napari_emsynth.models.gpemsr.vqgan import VQGAN, Attention, Codebook, Config, PatchCritic

TINY = Config(widths=(4, 4, 6, 6, 8), blocks=1, codes=7, dimension=5, groups=2, critic=(4, 6))
LOCAL = Config(widths=(4, 4, 6, 6, 8), blocks=1, codes=7, dimension=5, groups=0, reach=1, critic=(4, 6))


def made(config=TINY):
    torch.manual_seed(0)
    return VQGAN(config)


def sections(n=2, edge=32):
    return torch.randn(n, 1, edge, edge + 16, generator=torch.Generator().manual_seed(1))


def latent(book, n=2):
    return torch.randn(n, book.codes.shape[1], 3, 4, generator=torch.Generator().manual_seed(2))


def test_parameters_of_the_papers_sizes_are_counted_by_hand():
    def conv(a, b, edge):
        return edge * edge * a * b + b

    def block(w):
        return 2 * (conv(w, w, 3) + 2 * w)  # with gain and offset of its normalisation

    # Blocks at 1/1 to 1/8 and their halvings (or doublings); attention: four 1x1 and a normalisation; three blocks.
    levels = sum(block(w) for w in (64, 64, 128, 256))
    steps = conv(64, 64, 4) + conv(64, 128, 4) + conv(128, 256, 4) + conv(256, 512, 4)
    deep = 4 * conv(512, 512, 1) + 2 * 512 + 3 * block(512) + conv(512, 512, 1)
    encoder = conv(1, 64, 3) + levels + steps + deep
    # Transposed kernels have as many weights, and biases for the other side.
    decoder = conv(64, 1, 3) + levels + steps + (64 + 64 + 128 + 256) - (64 + 128 + 256 + 512) + deep
    network = VQGAN(Config.paper())
    assert sum(p.numel() for p in network.encoder.parameters()) == encoder
    assert sum(p.numel() for p in network.decoder.parameters()) == decoder
    assert network.codebook.codes.shape == (1024, 512)
    assert Config.paper().patch == 16


def test_sizes_and_features_at_every_scale():
    network = made().eval()
    z = network.encoder(sections())
    assert z.shape == (2, 5, 2, 3)
    shapes = [tuple(f.shape[1:]) for f in network.decoder.features(z)]
    assert shapes == [(8, 2, 3), (6, 4, 6), (6, 8, 12), (4, 16, 24), (4, 32, 48)]
    shapes = [tuple(f.shape[1:]) for f in network.encoder.features(sections(), 2)]
    assert shapes == [(4, 16, 24), (6, 8, 12)]
    redrawn = network(sections())
    assert redrawn.section.shape == (2, 1, 32, 48)
    assert redrawn.indices.shape == (2, 2, 3)


def test_the_code_is_the_nearest():
    torch.manual_seed(0)
    book = Codebook(11, 5).eval()
    z = latent(book)
    places = z.permute(0, 2, 3, 1)[..., None, :]
    truth = (places - book.codes).square().sum(dim=-1).argmin(dim=-1)
    assert torch.equal(book.nearest(z), truth)
    found = book(z)
    torch.testing.assert_close(found.codes[1, :, 2, 3], book.codes[truth[1, 2, 3]])
    # A code is its own nearest.
    assert torch.equal(book.nearest(book.codes.T[None, :, :, None])[0, :, 0], torch.arange(11))


def test_gradients_go_straight_through_and_draw_code_and_vector_together():
    torch.manual_seed(0)
    book = Codebook(11, 5, beta=0.5).eval()
    z = latent(book).requires_grad_()
    found = book(z)
    (grad,) = torch.autograd.grad((3 * found.codes).sum(), z, retain_graph=True)
    assert (grad == 3).all()
    codes = book.lookup(found.indices)
    to_z, to_codes = torch.autograd.grad(found.loss, (z, book.codes))
    torch.testing.assert_close(to_z, 0.5 * 2 * (z - codes).detach() / z.numel())
    pull = torch.zeros_like(book.codes)
    gap = (2 * (codes - z) / z.numel()).permute(0, 2, 3, 1).reshape(-1, 5).detach()
    pull.index_add_(0, found.indices.flatten(), gap)
    torch.testing.assert_close(to_codes, pull)


def test_usage_sums_to_one_and_perplexity_counts_codes():
    torch.manual_seed(0)
    book = Codebook(8, 5)
    assert book.perplexity() == pytest.approx(8)
    one = torch.zeros(2, 3, 4, dtype=torch.int64)
    assert book.perplexity(book.shares(one)) == pytest.approx(1)
    halves = torch.cat((one, one + 5))
    assert book.perplexity(book.shares(halves)) == pytest.approx(2)
    same = book.codes[3].detach()[None, :, None, None].expand(2, 5, 3, 4)
    for _ in range(300):
        book.train()(same)
    assert float(book.usage.sum()) == pytest.approx(1, abs=1e-4)
    assert book.perplexity() < 2
    before = book.usage.clone()
    book.eval()(same)
    assert torch.equal(book.usage, before)


def test_dead_codes_are_set_anew_and_counted():
    torch.manual_seed(0)
    book = Codebook(8, 5)
    same = book.codes[3].detach()[None, :, None, None].expand(2, 5, 3, 4)
    for _ in range(500):
        book(same)
    kept = book.codes[3].detach().clone()
    z = latent(book)
    assert book.revive(z, least=0.1, generator=torch.Generator().manual_seed(0)) == 7
    assert torch.equal(book.codes[3], kept)
    places = z.permute(0, 2, 3, 1).reshape(-1, 5)
    for code in (0, 7):
        assert (places == book.codes[code]).all(dim=1).any()
    # They are in use now, and are left alone.
    assert book.revive(z, least=0.1) == 0
    assert len(book.nearest(z).unique()) > 1


def test_unit_codes_are_told_apart_by_their_direction_alone():
    torch.manual_seed(0)
    net = made(replace(TINY, unit=True)).train()
    seen = net(sections())
    for vectors in (seen.z, net.codebook.lookup(seen.indices)):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(vectors[:, 0].shape))
    with torch.no_grad():
        net.codebook.codes.mul_(torch.rand(7, 1) + 0.5)
    assert torch.equal(net.codebook.nearest(seen.z), seen.indices)
    torch.testing.assert_close(net(sections()).section, seen.section)
    # However little latent vectors say at first, the decoder is given numbers of unit deviation.
    given = []
    net.decoder.stem.register_forward_hook(lambda _, x, __: given.append(x[0].detach()))
    net(sections())
    assert float(given[0].square().mean()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_attention_weights_sum_to_one_and_start_at_the_identity(reach):
    torch.manual_seed(0)
    layer = Attention(6, 2, reach)
    x = torch.randn(2, 6, 4, 5)
    weights = layer.weights(x)
    assert weights.shape == (2, 20, 20 if reach == 0 else (2 * reach + 1) ** 2)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 20))
    assert (weights >= 0).all()
    torch.testing.assert_close(layer(x), x)
    if reach:
        # The first place sees nothing above and left of it.
        assert (weights[:, 0].reshape(2, 2 * reach + 1, -1)[:, :reach] == 0).all()


def test_attention_that_reaches_everything_is_attention():
    torch.manual_seed(0)
    layer = Attention(6, 0, 0)
    torch.nn.init.normal_(layer.out.weight)
    x = torch.randn(1, 6, 3, 3)
    everywhere = layer(x)
    layer.reach = 2
    torch.testing.assert_close(layer(x), everywhere)


def test_without_normalisation_tiles_know_as_much_as_the_whole():
    network = made(LOCAL).eval()
    torch.nn.init.normal_(network.encoder.attention.out.weight)
    section = sections(1, 320)
    with torch.no_grad():
        whole, tile = network.encoder(section), network.encoder(section[..., :256])
    torch.testing.assert_close(tile[..., :8], whole[..., :8])


def test_gradients_reach_every_parameter():
    network = made()
    for layer in (network.encoder.attention, network.decoder.attention):
        torch.nn.init.normal_(layer.out.weight, std=0.1)
    redrawn = network(sections())
    (F.l1_loss(redrawn.section, sections()) + redrawn.loss).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # What is added to all keys alike does not change where they are looked at.
    assert all(name.endswith("attention.key.bias") for name in idle)


def test_the_critic_judges_patches():
    torch.manual_seed(0)
    critic = PatchCritic(Config().critic)
    # 4x4 kernels of stride 2, 2, 2, 1, 1 see 1 + 3 * (1 + 2 + 4 + 8 + 8) = 70 px.
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (1, 1, 14, 14)
    bare = torch.nn.Sequential(*(m for m in critic.parts if not isinstance(m, torch.nn.InstanceNorm2d)))
    (grad,) = torch.autograd.grad(bare(x)[0, 0, 7, 7], x)
    rows = torch.nonzero(grad[0, 0].abs().sum(dim=1))[:, 0]
    assert int(rows[-1] - rows[0]) + 1 == 70


def test_configurations_survive_json_and_nonsense_is_refused():
    assert Config.from_json({**vars(Config.slim()), "widths": list(Config.slim().widths)}) == Config.slim()
    with pytest.raises(InputError, match="at least 1"):
        Config(codes=0)
    with pytest.raises(InputError, match="at least 1"):
        Config(widths=(4,))
