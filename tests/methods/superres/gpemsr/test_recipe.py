"""The stages of GPEMSR: each learns its own part, in one run or alone, and starts from the other factor's codebook."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.gpemsr.codebook import CODE_WEIGHT, contest
from napari_emsynth.methods.superres.gpemsr.flow import reduced_stack
from napari_emsynth.methods.superres.gpemsr.indexer import codes
from napari_emsynth.methods.superres.gpemsr.recipe import SHARES, WHOLE, X8, X16
from napari_emsynth.methods.superres.single_stage.method import SPEC as PLAIN
from napari_emsynth.models.gpemsr.gpemsr import Config
from napari_emsynth.models.single_stage import Config as Plain, SingleStage
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training import checkpoint
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.loop import fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import told
from napari_emsynth.training.stages import STEP_OF_SCORES, Stages, Turn
from napari_emsynth.weights import store

VOLUME = Phantom(shape=(10, 72, 68), cell_px=24.0, noise=0.0).volume().data
DATA = TrainingData(blocks=[VOLUME[:6]], held_out=[VOLUME[6:]])
TINY = {
    "references": 1, "width": 4, "blocks": 1, "rebuild": 1, "deep": 6, "fine": [4], "groups": 2,
    "code_widths": [4, 4, 4, 6, 6], "code_blocks": 1, "codes": 24, "dimension": 5, "code_groups": 0, "reach": 1,
    "critic": [4, 4], "index_width": 8, "index_blocks": 1, "flow_levels": 2, "flow_widths": [6], "flow_kernel": 3,
    "mask_width": 4, "unit": True,
}  # fmt: skip
CPU = torch.device("cpu")
# Of a network that takes nothing over.
STAGES = list(WHOLE)


def recipe(kind=X8, config=None, start=None, **options):
    return kind(DATA, start, TINY | (config or {}), **{"batch": 4, "size": 32 if kind is X8 else 64, **options})


def judged(judge, network):
    with torch.inference_mode():
        return judge.validate(network.eval(), CPU)


def turn(stage, done=0.0, seed=0):
    return Turn(rng=np.random.default_rng(seed), device=CPU, done=done, rival=stage.rival())


def stage_of(made, name):
    return next(stage for stage, _ in made.stages if stage.name == name)


def taught(made, steps, lr=3e-3):
    """Teach a recipe's first stage one batch by heart; return what it logged, and the learner."""
    learner = made.learner(Plan(steps=steps, lr=lr), CPU)
    assert isinstance(learner, Stages)
    learner.network.train()
    return [learner.step(np.random.default_rng(0), lr) for _ in range(steps)], learner


def test_one_run_goes_through_all_stages_and_is_resumed(tmp_path):
    path = tmp_path / "run.ckpt.safetensors"
    made = recipe()
    assert [stage.name for stage, _ in made.stages] == STAGES
    seen = []
    plan = Plan(steps=16, lr=1e-3, validate_every=1e6)

    class Stop:
        cancelled = False

    def note(terms):
        seen.append(terms)
        Stop.cancelled = terms["step"] == 6

    fit(made, plan, path, device=CPU, on_step=note, cancel=Stop())
    fit(recipe(), plan, path, device=CPU, on_step=seen.append, resume=True)
    assert [int(s["stage"]) for s in seen] == [0] * 5 + [1] * 2 + [2] + [3] * 8
    told = ("perplexity", "accuracy", "epe", "residual")
    for at, name in enumerate(told):
        assert {name in s for s in seen if s["stage"] == at} == {True}
    saved = checkpoint.load(path)
    assert saved.counters.best == max(h["score"] for h in saved.counters.history) > -1
    assert any(k.startswith("rival-codebook.") for k in saved.learner)


def test_the_codebook_starts_at_the_data_and_learns_to_redraw_it():
    made = recipe(only="codebook")
    stage = stage_of(made, "codebook")
    network = made.network()
    before = network.vqgan.codebook.codes.detach().clone()
    stage.begin(network)
    # First there are no codes.
    loss, _, terms = stage.loss(network, turn(stage, 0.0))
    assert float(loss.detach()) == pytest.approx(told(terms)["l1"])
    assert torch.equal(network.vqgan.codebook.codes, before)
    stage.loss(network, turn(stage, 0.2))
    codes = network.vqgan.codebook.codes.detach()
    assert not (codes == before).any()
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(24))
    seen, learner = taught(made, 30, lr=1e-2)
    assert seen[-1]["l1"] < 0.9 * seen[0]["l1"]
    assert seen[-1]["perplexity"] > 2
    scores = judged(stage, learner.network)
    assert scores["psnr"] == scores["score"] > 0
    assert 1 <= scores["perplexity"] <= 24


def test_the_discriminator_joins_after_the_warm_up():
    stage = stage_of(recipe(only="codebook"), "codebook")
    network = recipe().network()
    early, none, terms = stage.loss(network, turn(stage, 0.2))
    assert none is None
    assert float(early.detach()) == pytest.approx(told(terms)["l1"] + CODE_WEIGHT * told(terms)["code"], rel=1e-5)
    _, rivalry, terms = stage.loss(network, turn(stage, 0.9))
    assert rivalry is not None
    assert 0 <= terms["d_accuracy"] <= 1


def test_the_penalty_is_that_of_the_gradient_at_acquired_sections():
    class Steep(torch.nn.Module):
        def forward(self, section):
            return 3 * section

    # |grad|^2 is 9 a pixel, of 4; a half of it counts, eight times as one step in eight has it.
    free, right = contest(Steep(), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), penalise=False)
    held, _ = contest(Steep(), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), penalise=True)
    assert float(held.detach() - free) == pytest.approx(9 * 4 / 2 * 8, rel=1e-5)
    assert right == 0.5


def test_the_indexer_learns_the_encoders_codes():
    made = recipe(only="indexer")
    network = made.network()
    # Codes that differ as sections do.
    first = stage_of(recipe(only="codebook"), "codebook")
    first.begin(network)
    first.loss(network, turn(first, 0.2))
    made.start = {k: v.clone() for k, v in network.state_dict().items()}
    seen, learner = taught(made, 30, lr=1e-2)
    assert seen[-1]["loss"] < 0.9 * seen[0]["loss"]
    assert all(torch.equal(v, made.start[k]) for k, v in learner.network.state_dict().items() if "indexer" not in k)
    scores = judged(made.stages[0][0], learner.network)
    assert scores["score"] == pytest.approx(100 * scores["accuracy"])
    assert scores["accuracy"] <= scores["among"]
    truth = codes(learner.network, torch.zeros(1, 1, 32, 64))
    assert truth.shape == (1, 2, 4)


def test_the_flow_learns_known_distortions():
    made = recipe(only="flow")
    seen, learner = taught(made, 30, lr=1e-2)
    assert seen[-1]["epe"] < 0.9 * seen[0]["epe"]
    scores = judged(made.stages[0][0], learner.network)
    assert scores["score"] == pytest.approx(scores["epe_still"] - scores["epe"])
    network = recipe().network()
    # Untrained, nothing moves.
    start = judged(made.stages[0][0], network)
    assert start["epe"] == pytest.approx(start["epe_still"])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stacks_are_reduced_section_by_section(axis):
    block = np.arange(20 * 24 * 16, dtype=np.float32).reshape(20, 24, 16) % 97
    wanted = reduced(torch.from_numpy(np.moveaxis(block, axis, 0).copy())[None], 8)[0]
    np.testing.assert_allclose(reduced_stack(block, axis, 8), wanted, rtol=1e-6)
    assert reduced_stack(block[:4], 1, 8).size == 0


def test_the_reconstruction_learns_and_starts_at_bicubic():
    made = recipe(only="reconstruction")
    start = judged(made, made.network())
    assert start["score"] == pytest.approx(0, abs=1e-4)
    seen, _ = taught(made, 25, lr=1e-2)
    assert seen[-1]["mse"] < 0.97 * seen[0]["mse"]
    assert seen[-1]["contextual"] != seen[0]["contextual"]


def test_context_counts_for_less_than_pixels_and_for_more_where_more_is_invented(monkeypatch):
    shares = []
    for kind in (X8, X16):
        made = recipe(kind, only="reconstruction", batch=1)
        stage, network = stage_of(made, "reconstruction"), made.network()
        losses = []
        for context in (0.0, 1.0):
            monkeypatch.setattr(stage, "_context", lambda *_, value=context: torch.tensor(value))
            losses.append(float(stage.loss(network, turn(stage))[0].detach()))
        shares.append(losses[1] - losses[0])
    assert 0 < shares[0] < shares[1] < 0.1


def test_earlier_stages_score_below_later_ones():
    made = recipe()
    made.learner(Plan(steps=10), CPU)
    assert judged(made, made.network())["score"] < -2 * STEP_OF_SCORES


@pytest.mark.parametrize(
    ("off", "stages"),
    [
        ({"mpf": False}, ["flow", "reconstruction"]),
        ({"pod": False}, ["codebook", "indexer", "reconstruction"]),
        ({"attention": False}, STAGES),
    ],
)
def test_what_is_left_out_is_not_trained(off, stages):
    made = recipe(config=off)
    assert [stage.name for stage, _ in made.stages] == stages
    stage = stage_of(made, "reconstruction")
    network = made.network()
    loss, _, _ = stage.loss(network, turn(stage))
    loss.backward()
    assert float(network.reconstruction.head.weight.grad.abs().sum()) > 0


def test_a_run_starts_from_the_codebook_of_the_other_factor():
    start = {k: v + 0.5 for k, v in recipe().network().state_dict().items()}
    made = recipe(X16, start=start)
    assert [stage.name for stage, _ in made.stages] == ["indexer", "flow", "reconstruction"]
    network = made.network().state_dict()
    assert all(torch.equal(network[k], v) for k, v in start.items() if k.startswith("vqgan."))
    assert not torch.equal(network["stem.weight"], start["stem.weight"])
    again = recipe(start=start).network().state_dict()
    assert all(torch.equal(again[k], v) for k, v in start.items())
    with pytest.raises(InputError, match="weights to start from do not fit"):
        recipe(X16, config={"codes": 25}, start=start).network()


def test_what_the_papers_configuration_does_otherwise_is_trained_as_well():
    paper, slim = Config.paper(), Config.slim(8)
    ways = ("references", "reach", "unit")
    assert all(getattr(paper, way) != getattr(slim, way) for way in ways)
    made = recipe(config={way: getattr(paper, way) for way in ways} | {"code_groups": 2}, batch=1)
    learner = made.learner(Plan(steps=400), CPU)
    for i, running in enumerate(learner.running):
        learner.at, learner.entered = i, learner.spent
        before = [p.detach().clone() for p in running.parameters]
        assert np.isfinite(learner.step(np.random.default_rng(i), 1.0)["loss"])
        assert any(not torch.equal(a, b) for a, b in zip(before, running.parameters, strict=True))


@pytest.mark.parametrize("kind", [X8, X16])
def test_the_slim_network_starts_as_the_bundled_single_stage_one(kind):
    network = kind(DATA, only="reconstruction", batch=1, size=64).network().eval()
    plain, _ = store.restored(PLAIN.name, kind.objective, lambda config: SingleStage(Plain.from_json(config)))
    low = torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    assert [stage.name for stage, _ in kind(DATA).stages] == list(SHARES)
    with torch.inference_mode():
        torch.testing.assert_close(network(low).mean, plain.eval()(low)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [X8, X16])
def test_the_papers_sizes_are_asked_for_by_name(kind):
    paper = kind(DATA, None, {"sizes": "paper", "pod": False})
    assert paper.config == replace(Config.paper(kind.factor), pod=False)
    assert [stage.name for stage, _ in paper.stages] == ["codebook", "indexer", "reconstruction"]
    assert kind(DATA).config == Config.slim(kind.factor)
    with pytest.raises(InputError, match="sizes 'large' are not among slim, paper"):
        kind(DATA, None, {"sizes": "large"})


def test_the_fusion_is_learned_alone_before_it_is_learned_together():
    made = X8(DATA, None, only="fusion,reconstruction", batch=1, size=32)
    network = made.network()
    alone, together = (
        {
            name.partition(".")[0]
            for name, p in network.named_parameters()
            if any(p is q for q in stage.parameters(network))
        }
        for stage, _ in made.stages
    )
    assert together - alone == {"direct", "reconstruction"}
    assert alone == {"stem", "blocks", "mask", "mpf", "pod", "fusion", "widen"}


def test_stages_are_named_and_nonsense_is_refused():
    assert [s.name for s, _ in recipe(only="reconstruction, indexer").stages] == ["indexer", "reconstruction"]
    with pytest.raises(InputError, match="'gan' is no stage of this network; known: codebook, indexer"):
        recipe(only="gan")
    with pytest.raises(InputError, match="'flow' is no stage"):
        recipe(config={"pod": False}, only="flow")
    with pytest.raises(InputError, match="objective x8 trains networks of factor 8, these weights are of factor 16"):
        recipe(config={"factor": 16})
    small = TrainingData(blocks=[VOLUME[:2]], held_out=[VOLUME[6:]])
    with pytest.raises(InputError, match="needs 3 sections of at least 32 x 32 px"):
        X8(small, None, TINY, only="flow")


def test_the_card_knows_the_factor_and_the_pixel_sizes():
    made = recipe(X16, only="reconstruction")
    facts = made.facts(made.network().eval(), CPU)
    assert facts["config"]["factor"] == 16
    assert facts["voxel_nm"] == (96.0, 272.0)
    assert facts["factor"] > 0
