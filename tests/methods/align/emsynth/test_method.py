"""Our aligner's answers: right sign, right place, silent where nothing can be known."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import Cancelled
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.emsynth.method import BothWays
from napari_emsynth.methods.align.protocol import Neighbour
from napari_emsynth.methods.request import Request
from napari_emsynth.nn.warp import followed
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.volume_contract import AlignContract

PHANTOM = Phantom(shape=(4, 128, 144), noise=2.0, dtype="float32")


class Test(AlignContract):
    task = "align"
    id = "emsynth"


def shown(shift=(0.0, 0.0), z=1):
    section = PHANTOM.clean(z, shift)
    return ((section - section.mean()) / section.std()).astype(np.float32)


def built(ways):
    params = {"step_px": 8, "ways": ways}
    return Request.of("align", PHANTOM.volume(), "emsynth", weights=None, params=params, runtime=Runtime()).built()


@pytest.fixture(scope="module", params=[1, 2])
def method(request):
    return built(request.param)


def asked(method, moving, fixed, known=None, theirs=None):
    return method(moving, [Neighbour(fixed, known=theirs)], known, Runtime(device="cpu"))


@pytest.mark.parametrize("shift", [(0.4, -0.7), (5.0, -3.0), (-8.0, 6.0)])
def test_a_known_shift_is_found_with_the_right_sign(method, shift):
    found = asked(method, shown(), shown(shift))
    assert found.displacement.shape == (2, 16, 18)
    inner = found.displacement[:, 4:-4, 4:-4]
    assert np.hypot(inner[0] - shift[0], inner[1] - shift[1]).mean() < 0.15


def test_neighbours_are_matched_too(method):
    found = asked(method, shown(z=1), shown((3.0, -2.0), z=2))
    inner = found.displacement[:, 4:-4, 4:-4]
    assert np.hypot(inner[0] - 3.0, inner[1] + 2.0).mean() < 1.2


def test_it_trusts_itself_on_tissue_and_not_between_strangers(method):
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(128, 144)).astype(np.float32) for _ in range(2)]
    alike = asked(method, shown(), shown((1.0, 1.0))).confidence.mean()
    assert alike > 0.6
    assert asked(method, *noise).confidence.mean() < 0.5 * alike


def test_it_abstains_where_nothing_is_known(method):
    known = np.ones((128, 144), bool)
    known[:64] = False
    for mask in ({"known": known}, {"theirs": known}):
        found = asked(method, shown(), shown((1.0, 1.0)), **mask)
        assert found.confidence[:7].max() < 0.01
        assert found.confidence[10:].mean() > 0.5


def apart(method, theirs):
    """How far two ways round are from undoing each other, px."""
    there, back = (
        torch.from_numpy(Displacement(asked(method, *pair).displacement[None], (1, 128, 144)).dense(0))[None]
        for pair in ((shown(), theirs), (theirs, shown()))
    )
    inner = (..., slice(16, -16), slice(16, -16))
    assert there[inner].norm(dim=1).mean() > 2
    pairs = ((there, back), (back, there))
    return max(float(followed(*pair)[inner].norm(dim=1).mean()) for pair in pairs)


@pytest.mark.parametrize("theirs", [shown((2.0, 1.0), z=2), shown((3.0, -2.0), z=3)])
def test_asked_both_ways_round_swapping_the_sections_inverts_the_answer(theirs):
    one, both = (apart(built(ways), theirs) for ways in (1, 2))
    assert both < 0.02
    assert both < 0.5 * one


def test_fields_that_agree_are_kept_and_others_are_met_half_way():
    agreed = BothWays(None).agreed
    shift = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 20, 20)
    kept = torch.cat((shift, -shift))
    torch.testing.assert_close(agreed(kept), kept)
    torch.testing.assert_close(agreed(torch.cat((shift, 0 * shift)))[:1], shift / 2)


def test_cancelled_it_stops(method):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        method(shown(), [Neighbour(shown())], None, Runtime(device="cpu", cancel=token))
