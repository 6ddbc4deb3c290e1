"""Laws of training in stages: one after another, the others still, resumed where it was."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from napari_emsynth.training import checkpoint
from napari_emsynth.training.loop import fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Divergence
from napari_emsynth.training.stages import STEP_OF_SCORES, Stage, StagedRecipe, Stages

CPU = torch.device("cpu")
PARTS = ("first", "second", "third")


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        for part in PARTS:
            setattr(self, part, nn.Linear(3, 1))


class Part(Stage):
    """Fits one part to a plane; the first does so against a discriminator."""

    def __init__(self, name):
        self.name = name
        self.began = 0
        self.broken = False

    def parameters(self, network):
        return list(getattr(network, self.name).parameters())

    def rival(self):
        return nn.Linear(1, 1) if self.name == "first" else None

    def begin(self, network):
        self.began += 1

    def loss(self, network, turn):
        rival = turn.rival
        x = torch.from_numpy(turn.rng.normal(size=(4, 3)).astype("float32"))
        y = getattr(network, self.name)(x)
        loss = (y - x.sum(dim=1, keepdim=True)).square().mean()
        if self.broken:
            loss = loss * math.nan
        rivalry = None if rival is None else rival(y.detach()).square().mean()
        return (loss if rival is None else loss - 0.01 * rival(y).mean()), rivalry, {"done": turn.done}

    def validate(self, network, device):
        return {"score": -float((getattr(network, self.name).weight.detach() - 1).abs().sum())}


@dataclass(frozen=True)
class Config:
    size: int = 3


class Data:
    def fingerprint(self):
        return "data"


class Recipe(StagedRecipe):
    method, objective, start, config, data = "test/parts", "parts", None, Config(), Data()

    def __init__(self, names=PARTS):
        self.stages = [(Part(name), 1.0) for name in names]

    def build(self):
        return Parts()


def train(recipe, path, steps, resume=False, stop=None):
    seen = []
    plan = Plan(steps=steps, lr=0.1, validate_every=1e6)

    class Stop:
        cancelled = False

    def on_step(terms):
        seen.append(terms)
        if stop is not None and terms["step"] >= stop:
            Stop.cancelled = True

    trained = fit(recipe, plan, path, device=CPU, resume=resume, on_step=on_step, cancel=Stop())
    return seen, trained


def test_each_stage_has_its_share_and_starts_once(tmp_path):
    recipe = Recipe()
    seen, _ = train(recipe, tmp_path / "a.ckpt.safetensors", 12)
    assert [int(s["stage"]) for s in seen] == [0] * 4 + [1] * 4 + [2] * 4
    assert [s["done"] for s in seen] == [0, 0.25, 0.5, 0.75] * 3
    assert [stage.began for stage, _ in recipe.stages] == [1, 1, 1]


def test_a_stage_leaves_the_others_as_they_are(tmp_path):
    path = tmp_path / "a.ckpt.safetensors"
    recipe = Recipe()
    train(recipe, path, 12, stop=6)
    torch.manual_seed(0)
    start, now = Parts().state_dict(), checkpoint.load(path).network
    moved = {k for k in start if not torch.equal(start[k], now[k])}
    assert moved == {f"{part}.{what}" for part in ("first", "second") for what in ("weight", "bias")}
    first = {k: v for k, v in now.items() if k.startswith("first")}
    train(Recipe(), path, 12, resume=True)
    assert all(torch.equal(v, checkpoint.load(path).network[k]) for k, v in first.items())


@pytest.mark.parametrize("stop", [2, 4, 6, 11])
def test_a_killed_run_ends_where_one_that_was_not_does(tmp_path, stop):
    whole, halves = (tmp_path / f"{name}.ckpt.safetensors" for name in ("whole", "halves"))
    train(Recipe(), whole, 12)
    before, _ = train(Recipe(), halves, 12, stop=stop)
    resumed = Recipe()
    after, _ = train(resumed, halves, 12, resume=True)
    assert len(before) + len(after) == 12
    one, two = checkpoint.load(whole), checkpoint.load(halves)
    assert one.learner.keys() == two.learner.keys()
    assert any(k.startswith("rival-first.") for k in two.learner)
    for a, b in ((one.network, two.network), (one.learner, two.learner)):
        for name, value in a.items():
            torch.testing.assert_close(b[name], value, msg=name)
    # What had begun does not begin again.
    assert sum(stage.began for stage, _ in resumed.stages) == sum(stop <= first for first in (0, 4, 8))


def test_a_longer_budget_never_goes_back(tmp_path):
    path = tmp_path / "a.ckpt.safetensors"
    train(Recipe(), path, 12, stop=6)
    seen, _ = train(Recipe(), path, 30, resume=True)
    stages = [int(s["stage"]) for s in seen]
    assert stages == [1] * 8 + [2] * 16
    assert seen[-1]["done"] == pytest.approx(15 / 16)
    train(Recipe(), path, 60, stop=31, resume=True)
    seen, _ = train(Recipe(), path, 60, resume=True)
    assert {int(s["stage"]) for s in seen} == {2}
    assert all(s["done"] < 1 for s in seen)


def test_the_moving_average_starts_anew_with_a_stage(tmp_path):
    path = tmp_path / "a.ckpt.safetensors"
    train(Recipe(), path, 400, stop=270)
    saved = checkpoint.load(path)
    # After 2 of its steps the third part's average is its own, whatever was averaged before.
    torch.manual_seed(0)
    start = Parts().state_dict()["third.weight"]
    now, average = (part["third.weight"] for part in (saved.network, saved.average))
    assert not torch.equal(now, start)
    assert (average - now).norm() < 0.6 * (start - now).norm()
    assert saved.learner["where"].tolist()[:2] == [2, 2]


def test_scores_rise_with_the_stages_and_the_last_is_its_own(tmp_path):
    recipe = Recipe()
    _, trained = train(recipe, tmp_path / "a.ckpt.safetensors", 12, stop=2)
    assert -3 * STEP_OF_SCORES < trained.counters.best < -1.5 * STEP_OF_SCORES
    _, trained = train(Recipe(), tmp_path / "a.ckpt.safetensors", 12, resume=True)
    assert -100 < trained.counters.best < 0
    network = Parts()
    assert Recipe().validate(network, CPU) == {"score": Part("third").validate(network, CPU)["score"], "stage": 2.0}


def test_a_run_of_other_stages_is_another_run(tmp_path):
    assert Recipe().fingerprint() != Recipe(("second",)).fingerprint()
    seen, _ = train(Recipe(("second",)), tmp_path / "a.ckpt.safetensors", 4)
    assert [s["done"] for s in seen] == [0, 0.25, 0.5, 0.75]


def test_a_loss_that_is_no_number_spoils_nothing():
    recipe = Recipe()
    learner = Stages(recipe, recipe.stages, Plan(steps=12), CPU)
    recipe.stages[0][0].broken = True
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    with pytest.raises(Divergence, match="stage first became nan"):
        learner.step(np.random.default_rng(0), 1.0)
    assert all(torch.equal(v, before[k]) for k, v in learner.network.state_dict().items())
