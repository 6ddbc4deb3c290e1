"""Long stacks are solved window by window along z; what comes out is what one system of all sections gives."""

import numpy as np
import pytest

from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.estimate import WINDOW, estimate, estimates
from napari_emsynth.methods.align.stack.solve import solve
from napari_emsynth.methods.align.task import align
from napari_emsynth.methods.request import Request
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import SHIFTER, Shifter

WHERE = "napari_emsynth.methods.align.stack.estimate"
# Three windows: one at either end, and one that ends at neither.
COUNT, SHAPE = 80, (32, 36)
JITTER = np.random.default_rng(3).integers(-2, 3, (COUNT, 2))


def stack():
    """[z, y, x] a phantom that hardly changes along z, every section of which was shifted by itself."""
    edge = 4
    phantom = Phantom(shape=(COUNT, SHAPE[0] + 2 * edge, SHAPE[1] + 2 * edge), noise=0.0)
    sections = [phantom.clean(z / 8) for z in range(0, COUNT, 4)]
    cut = []
    for z, (dy, dx) in enumerate(JITTER + edge):
        a, t = sections[z // 4], (z % 4) / 4
        section = (1 - t) * a + t * sections[min(z // 4 + 1, len(sections) - 1)]
        cut.append(section[dy : dy + SHAPE[0], dx : dx + SHAPE[1]])
    return np.stack(cut).astype(np.float32)


@pytest.fixture(scope="module")
def sections():
    data = stack()
    data.flags.writeable = False
    return data


@pytest.fixture
def found(install, monkeypatch, sections):
    """Align in windows of so many sections: nodes [z, 2, y', x'] px, confidence [z, y', x'], and the systems' sizes."""
    install(SHIFTER)

    def run(window=WINDOW, **options):
        sizes = []

        def watched(count, *args, **more):
            sizes.append(count)
            return solve(count, *args, **more)

        monkeypatch.setattr(f"{WHERE}.WINDOW", window)
        monkeypatch.setattr(f"{WHERE}.solve", watched)
        params = {"leave_px": 0.0}
        result = align(sections, method=SHIFTER.id, params=params, voxel_nm=(30, 8, 8), selfcheck=False, **options)
        return np.asarray(result.displacement.data), np.asarray(result.confidence), sizes

    return run


def test_windows_give_what_the_whole_stack_gives(found):
    whole, trust, one = found(COUNT)
    parts, trust_of_parts, three = found()
    assert one == [COUNT]
    assert three == [WINDOW] * 3
    # 0.08 and 0.017 px were measured; 0.11 and 0.034 px with half the support, 1.2 and 0.28 px without any.
    apart = np.abs(parts - whole)
    assert apart.max() < 0.12
    assert apart.mean() < 0.025
    assert np.abs(trust_of_parts - trust).max() < 1e-3
    # Section z shows what lies at p + JITTER[z], and is pulled back, in the first window, the middle one and the last.
    left = parts.mean(axis=(2, 3)) + JITTER
    for some in np.array_split(np.abs(left - left.mean(axis=0)), 3):
        assert some.mean() < 0.3 * np.abs(JITTER).mean()


def test_a_reference_in_one_window_stays_and_the_others_agree(found):
    whole, _, _ = found(COUNT, reference=5)
    parts, _, _ = found(reference=5)
    assert not parts[5].any()
    assert np.abs(parts - whole).max() < 0.12


@pytest.mark.parametrize("how", ["pairs", "chain"])
def test_stacks_estimated_together_are_estimated_as_each_alone(install, monkeypatch, sections, how):
    install(SHIFTER)
    monkeypatch.setattr(Shifter, "how", how)
    requests = [
        Request.of("align", stack, SHIFTER.id, weights=None, params={"leave_px": 0.0}, runtime=Runtime())
        for stack in (sections[:9], sections[20:26], sections[40:53])
    ]
    together = estimates(requests, Constraints())
    for request, found in zip(requests, together, strict=True):
        alone = estimate(request, Constraints())
        assert np.array_equal(found.field.data, alone.field.data)
        assert np.array_equal(found.confidence, alone.confidence)
        assert found.pairs == alone.pairs
        assert np.abs(found.field.data).max() > 0.5
