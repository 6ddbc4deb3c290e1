"""The loop: budgets, best-so-far, resumption, divergence; on a problem small enough to know the answer."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken
from napari_emsynth.training import checkpoint, loop
from napari_emsynth.training.data import is_isotropic, split
from napari_emsynth.training.loop import Trainer, fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Recipe
from napari_emsynth.volume import Volume

CPU = torch.device("cpu")


class Slope(Recipe):
    """Learn y = 3 x with one 1x1 convolution."""

    def __init__(self, tag="a", explode_at=None):
        self.tag, self.explode_at, self.calls = tag, explode_at, 0

    def fingerprint(self):
        return {"tag": self.tag}

    def network(self):
        return nn.Conv2d(1, 1, 1, bias=False)

    def loss(self, network, rng, device):
        self.calls += 1
        x = torch.from_numpy(rng.standard_normal((4, 1, 3, 3)).astype(np.float32))
        loss = (network(x) - 3 * x).square().mean()
        if self.calls == self.explode_at:
            loss = loss * math.nan
        return loss, {"mse": float(loss.detach())}

    def validate(self, network, device):
        return {"score": -abs(float(network.weight.item()) - 3)}


def run(path, recipe=None, **options):
    plan = Plan(steps=options.pop("steps", 200), lr=0.1, average=20, validate_every=options.pop("every", 1e9))
    return fit(recipe or Slope(), plan, path, device=CPU, **options)


def test_it_learns_and_keeps_the_best(tmp_path):
    trained = run(tmp_path / "c.safetensors")
    assert trained.finished
    assert trained.counters.step == 200
    assert float(trained.state["weight"].item()) == pytest.approx(3, abs=0.05)
    assert trained.counters.best == max(record["score"] for record in trained.counters.history)


def test_the_best_is_kept_even_when_later_training_spoils_it(tmp_path):
    class Spoiling(Slope):
        def validate(self, network, device):
            self.calls_to_validate = getattr(self, "calls_to_validate", 0) + 1
            return {"score": 1.0 if self.calls_to_validate == 3 else 0.0}

    weights = []
    trained = run(
        tmp_path / "c.safetensors",
        Spoiling(),
        steps=30,
        every=0.0,
        on_step=lambda t: weights.append(t.get("val_score")),
    )
    assert trained.counters.best == 1.0
    assert weights[1] == 1.0
    assert float(trained.state["weight"].item()) != pytest.approx(3, abs=0.05)


def test_the_start_is_judged_before_the_first_step(tmp_path):
    checks = []
    trained = run(tmp_path / "c.safetensors", steps=3, on_check=lambda state, scores: checks.append((state, scores)))
    assert trained.start["step"] == 0
    assert checks[0][1] == trained.start
    assert trained.gained
    assert trained.best["score"] > trained.start["score"]


def test_what_never_beats_the_start_gains_nothing_and_keeps_it(tmp_path):
    class Perfect(Slope):
        def network(self):
            network = super().network()
            nn.init.constant_(network.weight, 3.0)
            return network

        def loss(self, network, rng, device):
            loss = network.weight.square().sum()  # away from what is scored
            return loss, {"mse": float(loss.detach())}

    trained = run(tmp_path / "c.safetensors", Perfect(), steps=5, every=0.0)
    assert not trained.gained
    assert trained.best == trained.start
    assert float(trained.state["weight"].item()) == 3


def test_resuming_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "c.safetensors"
    token = CancelToken()
    first = run(path, on_step=lambda t: token.cancel() if t["step"] == 70 else None, cancel=token)
    assert not first.finished
    assert first.counters.step == 70
    steps = []
    second = run(path, resume=True, on_step=lambda t: steps.append(t["step"]))
    assert steps[0] == 71
    assert second.counters.step == 200
    assert second.finished


def test_who_leaves_at_once_finds_the_last_step_in_the_checkpoint(tmp_path):
    path = tmp_path / "c.safetensors"

    def leave(terms):
        if terms["step"] == 70:
            raise Cancelled("left")

    with pytest.raises(Cancelled):
        run(path, on_step=leave)
    assert checkpoint.load(path).counters.step == 70


def test_a_run_that_is_killed_between_validations_loses_a_minute_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    path = tmp_path / "c.safetensors"

    def killed(terms):
        if terms["step"] == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, on_step=killed)
    assert checkpoint.load(path).counters.step == 70
    assert len(checkpoint.load(path).counters.history) == 1, "no validation was due"


def test_checkpoint_restores_everything_exactly(tmp_path):
    path = tmp_path / "c.safetensors"
    plan = Plan(steps=50, lr=0.1)
    a = Trainer(Slope(), plan, path, CPU, 0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        a.step(rng)
    a.validate()
    a.save()
    b = Trainer(Slope(), plan, path, CPU, 99)
    b.resume()
    assert b.counters == a.counters
    rng_a, rng_b = np.random.default_rng(1), np.random.default_rng(1)
    assert a.step(rng_a) == b.step(rng_b)
    for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_another_runs_checkpoint_is_refused(tmp_path):
    run(tmp_path / "c.safetensors", steps=3)
    with pytest.raises(InputError, match="belongs to another"):
        run(tmp_path / "c.safetensors", Slope("b"), steps=3, resume=True)


@pytest.mark.parametrize("content", [b"", b"nonsense that is not safetensors"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a usable checkpoint"):
        checkpoint.load(path)


def test_divergence_falls_back_to_the_last_checkpoint(tmp_path):
    terms = []
    trained = run(tmp_path / "c.safetensors", Slope(explode_at=40), steps=60, every=0.0, on_step=terms.append)
    assert [t["step"] for t in terms if "diverged" in t] == [39]
    assert trained.counters.step == 60
    assert math.isfinite(float(trained.state["weight"].item()))


def test_divergence_before_any_checkpoint_is_said(tmp_path):
    with pytest.raises(InputError, match="diverged before its first checkpoint"):
        run(tmp_path / "c.safetensors", Slope(explode_at=1))


def test_a_checkpoint_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        run(tmp_path / "c.safetensors", steps=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "budget", [{}, {"seconds": 1.0, "steps": 1}, {"steps": 0}, {"seconds": -1.0}, {"seconds": math.inf}]
)
def test_budgets_that_make_no_sense(budget):
    with pytest.raises(InputError, match="training"):
        Plan(**budget)


def test_rate_rises_then_falls_to_zero():
    plan = Plan(steps=100, lr=1.0, warmup=0.1)
    rates = [plan.rate(p / 100) for p in range(101)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_held_out_sections_are_never_trained_on():
    block = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 40, 40), np.uint8)
    data = split(Volume.of(block))
    assert set(np.unique(data.blocks[0])) & set(np.unique(data.held_out[0])) == set()
    assert data.blocks[0].shape[0] + data.held_out[0].shape[0] == 40
    assert data.axes == (0,)


def test_isotropic_volumes_serve_along_all_axes():
    block = np.zeros((60, 60, 60), np.uint8)
    assert split(Volume.of(block, voxel_nm=(10, 10, 10))).axes == (0, 1, 2)
    assert split(Volume.of(block, voxel_nm=(40, 4, 4))).axes == (0,)
    assert not is_isotropic(Volume.of(block))


def test_too_few_sections_to_train():
    with pytest.raises(InputError, match="at least 16 sections, got 9"):
        split(Volume.of(np.zeros((9, 40, 40), np.uint8)))
