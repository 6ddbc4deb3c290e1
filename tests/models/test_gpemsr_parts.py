"""The parts of GPEMSR's stages II and III, each by its laws."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_emsynth.models.gpemsr.attention_fusion import AttentionFusion, PlainFusion
from napari_emsynth.models.gpemsr.deformable_alignment import DeformableAlignment, Guided
from napari_emsynth.models.gpemsr.indexer import Indexer, accuracy
from napari_emsynth.models.gpemsr.prior_fusion import Mask, PriorFusion, distance, resized
from napari_emsynth.models.pyramid_flow import PyramidFlow


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestIndexer:
    @pytest.mark.parametrize(("halvings", "grid"), [(0, (8, 12)), (1, (4, 6))])
    def test_codes_lie_on_their_grid(self, halvings, grid):
        torch.manual_seed(0)
        network = Indexer(codes=9, halvings=halvings, width=6, blocks=1)
        logits = network(noise(2, 1, 8, 12))
        assert logits.shape == (2, 9, *grid)
        indices = network.indices(noise(2, 1, 8, 12))
        assert indices.shape == (2, *grid)
        assert torch.equal(indices, logits.argmax(dim=1))
        assert len(indices.unique()) > 1

    def test_parameters_are_counted_by_hand(self):
        # Stem 1 -> 6, one halving, two blocks of two convolutions, 1x1 to 9 codes.
        network = Indexer(codes=9, halvings=1, width=6, blocks=2)
        assert sum(p.numel() for p in network.parameters()) == (54 + 6) + 4 * (9 * 36 + 6) + (16 * 36 + 6) + (54 + 9)

    def test_accuracy_counts_the_most_probable_codes(self):
        logits = torch.tensor([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0]])[None, :, None]  # two places
        truth = torch.tensor([[[0, 1]]])
        assert accuracy(logits, truth) == 0.5
        assert accuracy(logits, truth, most=2) == 1.0
        assert accuracy(logits, truth, most=99) == 1.0


class TestPyramidFlow:
    def test_untrained_nothing_moves(self):
        torch.manual_seed(0)
        network = PyramidFlow(levels=3, widths=(4, 6), kernel=5)
        found = network.levels(noise(2, 1, 16, 24), noise(2, 1, 16, 24, seed=1))
        assert [tuple(u.shape[-2:]) for u in found] == [(4, 6), (8, 12), (16, 24)]
        assert all((u == 0).all() for u in found)

    def test_a_step_counts_in_pixels_of_its_level(self):
        torch.manual_seed(0)
        network = PyramidFlow(levels=3, widths=(4,), kernel=3)
        with torch.no_grad():
            network.steps[0].convs[-1].bias.copy_(torch.tensor([1.0, -0.5]))
        u = network(noise(1, 1, 16, 16), noise(1, 1, 16, 16))
        torch.testing.assert_close(u, torch.tensor([4.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 16, 16))

    def test_the_papers_sizes_are_counted_by_hand(self):
        # SPyNet's level, with one channel an image: 7x7 of 4-32-64-32-16-2.
        level = sum(49 * a * b + b for a, b in ((4, 32), (32, 64), (64, 32), (32, 16), (16, 2)))
        network = PyramidFlow(levels=4, widths=(32, 64, 32, 16), kernel=7)
        assert sum(p.numel() for p in network.parameters()) == 4 * level == 935_112

    def test_it_learns_a_shift(self):
        torch.manual_seed(0)
        network = PyramidFlow(levels=2, widths=(12, 12), kernel=5)
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        image = F.avg_pool2d(noise(4, 1, 52, 52), 5, stride=1) * 5
        fixed, moving = image[..., 8:40, 8:40], image[..., 6:38, 9:41]  # moving(p + (2, -1)) = fixed(p)
        truth = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
        first = None
        for _ in range(25):
            error = (network(moving, fixed) - truth).abs().mean()
            first = first or float(error.detach())
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
        assert first == pytest.approx(1.5)
        assert float(error.detach()) < 0.8 * first


class TestPriorFusion:
    def test_distance_is_one_less_the_cosine_of_patches(self):
        a, b = noise(2, 3, 8, 8), noise(2, 3, 8, 8, seed=1)
        found = distance(a, b, 4)
        assert found.shape == (2, 1, 2, 2)
        one, other = a[1, :, 4:, :4].flatten().numpy(), b[1, :, 4:, :4].flatten().numpy()
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert float(found[1, 0, 1, 0]) == pytest.approx(1 - cosine, abs=1e-5)
        torch.testing.assert_close(distance(a, a, 4), torch.zeros(2, 1, 2, 2), atol=1e-6, rtol=0)
        torch.testing.assert_close(distance(a, -a, 4), torch.full((2, 1, 2, 2), 2.0))
        # Nothing against nothing is the same.
        assert (distance(0 * a, 0 * a, 4) == 0).all()

    def test_the_mask_lies_between_nothing_and_all_and_trusts_what_is_identical(self):
        torch.manual_seed(0)
        net = Mask(4)
        torch.nn.init.normal_(net.out.weight)  # whatever was learnt
        mask = net(2 * torch.rand(2, 1, 9, 9))
        assert (mask >= 0).all()
        assert (mask <= 1).all()
        assert mask.std() > 0
        assert (net(torch.zeros(1, 1, 5, 5)) == 1).all()
        d = torch.full((1, 1, 5, 5), 0.3)
        d[..., 2, 2] = 0.0
        assert net(d)[0, 0, 2, 2] == 1

    def test_at_the_start_unlike_patches_are_trusted_by_half(self):
        mask = Mask(4)(torch.full((1, 1, 3, 3), 0.5))
        torch.testing.assert_close(mask, torch.full_like(mask, 0.54), atol=0.02, rtol=0)

    def test_without_trust_features_pass_as_they_are(self):
        torch.manual_seed(0)
        fusion = PriorFusion(5, (8, 6, 4))
        features = noise(2, 5, 4, 6)
        priors = [noise(2, c, 4 * 2**i, 6 * 2**i, seed=i) for i, c in enumerate((8, 6, 4))]
        untouched = fusion(features, priors, torch.zeros(2, 1, 2, 3))
        assert torch.equal(untouched, features)
        fused = fusion(features, priors, torch.ones(2, 1, 2, 3))
        assert fused.shape == features.shape
        assert not torch.allclose(fused, features)

    def test_every_scale_counts(self):
        torch.manual_seed(0)
        fusion = PriorFusion(5, (8, 6, 4, 3))
        features = noise(1, 5, 4, 4)
        priors = [noise(1, c, 4 * 2**i, 4 * 2**i, seed=i) for i, c in enumerate((8, 6, 4, 3))]
        whole = fusion(features, priors, torch.ones(1, 1, 4, 4))
        for i in range(4):
            without = [p * (i != j) for j, p in enumerate(priors)]
            assert not torch.allclose(fusion(features, without, torch.ones(1, 1, 4, 4)), whole)

    def test_a_mask_keeps_its_edges(self):
        mask = torch.tensor([[0.0, 1.0]])[None, None]
        fine = resized(mask, torch.zeros(1, 1, 8, 16))[0, 0, 0]
        assert fine[0] == 0
        assert fine[-1] == 1
        torch.testing.assert_close(fine + fine.flip(0), torch.ones(16))


class TestDeformableAlignment:
    def test_at_the_start_a_neighbour_is_pulled_along_the_flow(self):
        torch.manual_seed(0)
        layer = Guided(4, 2)
        x, guide = noise(1, 4, 9, 9), noise(1, 4, 9, 9, seed=1)
        flow = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 9, 9)
        plain = F.conv2d(F.pad(x, (2, 0, 0, 1))[:, :, 1:, :-2], layer.convolve.weight, padding=1)
        inner = (..., slice(1, -2), slice(3, -1))
        torch.testing.assert_close(layer(x, guide, flow)[inner], plain[inner])
        torch.testing.assert_close(layer(x, guide), F.conv2d(x, layer.convolve.weight, padding=1))

    def test_modulations_cannot_shut(self):
        layer = Guided(4, 2)
        torch.nn.init.constant_(layer.head.bias, -1e6)
        x = torch.ones(1, 4, 9, 9)
        with torch.no_grad():
            layer.head.bias[: 2 * 9 * 2] = 0
            shut = layer(x, torch.zeros_like(x))
            torch.testing.assert_close(
                shut, 2 * torch.sigmoid(torch.tensor(-1.0)) * F.conv2d(x, layer.convolve.weight, padding=1)
            )

    def test_sizes_and_gradients(self):
        torch.manual_seed(0)
        align = DeformableAlignment(4, 2)
        middle, neighbour = align.pyramid(noise(2, 4, 8, 12)), align.pyramid(noise(2, 4, 8, 12, seed=1))
        assert [tuple(f.shape[-2:]) for f in middle] == [(8, 12), (4, 6), (2, 3)]
        flow = 0.3 * noise(2, 2, 8, 12, seed=2)
        answer = align(middle, neighbour, flow)
        assert answer.shape == (2, 4, 8, 12)
        for head in [level.deform.head for level in align.levels] + [align.last.head]:
            torch.nn.init.normal_(head.weight, std=0.1)
        align(middle, neighbour, flow).square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in align.parameters())
        assert all(p.grad.abs().sum() > 0 for p in align.parameters())

    def test_the_flow_counts_at_every_level(self):
        torch.manual_seed(0)
        align = DeformableAlignment(4, 2).eval()
        still = align.pyramid(torch.zeros(1, 4, 64, 64))
        spot = torch.zeros(1, 4, 64, 64)
        spot[..., 30:33, 29:34] = noise(1, 4, 3, 5)
        spot = align.pyramid(spot)
        flow = torch.tensor([4.0, -8.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
        here, there = align(still, spot, 0 * flow), align(still, spot, flow)
        assert here.std() > 0
        # What lies at p is pulled to p - u: whole nodes at every level.
        torch.testing.assert_close(there[..., 8:40, 24:56], here[..., 12:44, 16:48])


class TestAttentionFusion:
    def test_weights_sum_to_one_over_the_sections(self):
        torch.manual_seed(0)
        fusion = AttentionFusion(4, 5)
        aligned = noise(2, 4, 5, 6, 8)
        weights = fusion.weights(aligned)
        assert weights.shape == (2, 5, 6, 8)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 6, 8))
        assert weights.std() > 0

    def test_a_section_unlike_the_middle_one_weighs_less(self):
        torch.manual_seed(0)
        fusion = AttentionFusion(8, 3)
        with torch.no_grad():  # look at each section by itself
            fusion.embed.weight.zero_()
            fusion.embed.weight[range(8), range(8), 1, 1, 1] = 1.0
            fusion.embed.bias.zero_()
        middle = noise(1, 8, 6, 6)
        aligned = torch.stack((-middle, middle, middle), dim=2)
        below, _, above = fusion.weights(aligned)[0]
        assert (below < above).all()

    @pytest.mark.parametrize("kind", [AttentionFusion, PlainFusion])
    def test_many_sections_become_one_and_gradients_flow(self, kind):
        torch.manual_seed(0)
        fusion = kind(4, 5)
        aligned = noise(2, 4, 5, 6, 8)
        assert fusion(aligned).shape == (2, 4, 6, 8)
        if kind is AttentionFusion:
            torch.nn.init.normal_(fusion.head.weight, std=0.1)
        fusion(aligned).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())

    def test_it_starts_as_a_plain_fusion_of_weighted_sections(self):
        torch.manual_seed(0)
        fusion, plain = AttentionFusion(4, 5), PlainFusion(4, 5)
        plain.fuse.load_state_dict(fusion.fuse.state_dict())
        aligned = noise(1, 4, 5, 6, 8)
        weighted = 5 * fusion.weights(aligned)[:, None] * aligned
        torch.testing.assert_close(fusion(aligned), plain(weighted))
