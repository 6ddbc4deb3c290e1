"""Leave-one-out scores: of a known answer, of the floors, of bad requests."""

import json

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate, held_out_coverage
from napari_emsynth.metrics.scores import METRICS, score
from napari_emsynth.trust.selfcheck import Sample, cross_fitted


def stack(z=11, edge=48):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:edge, :edge]
    waves = [np.sin((x + k) / 3.0) * 50 + np.cos(y / 4.0) * 40 + 120 for k in range(z)]
    return np.clip(np.stack(waves) + rng.normal(0, 6, (z, edge, edge)), 0, 255).astype(np.uint8)


def test_linear_scores_as_the_linear_floor():
    report = evaluate(stack(), method="linear", gap=1, flow_floor=False)
    assert report["scores"]["linear"]["psnr"] > report["scores"]["nearest"]["psnr"]
    assert set(report["scores"]) == {"linear", "nearest", "blurred_linear", "fitted"}
    assert set(report["scores"]["linear"]) == set(METRICS)


def test_a_wider_gap_is_harder():
    one, three = (evaluate(stack(), method="linear", gap=g, flow_floor=False) for g in (1, 3))
    assert one["scores"]["linear"]["psnr"] > three["scores"]["linear"]["psnr"] + 1


def test_optical_flow_follows_what_moves():
    report = evaluate(stack(), method="linear", gap=3, limit=3)
    assert report["scores"]["optical_flow"]["psnr"] > report["scores"]["linear"]["psnr"] + 1
    assert report["beats_floors"] is False


def test_report_is_json_with_calibrated_coverage():
    report = evaluate(stack(), method="linear", gap=1, flow_floor=False)
    assert json.loads(json.dumps(report)) == report
    assert 0.85 <= report["coverage90"] <= 0.95
    assert report["sections"] == list(range(1, 10))


def test_a_perfect_answer():
    truth = stack()[0].astype(np.float32)
    perfect = score(truth, truth, 255.0)
    assert perfect["psnr"] == 99.0
    assert perfect["ssim"] == pytest.approx(1)
    assert perfect["mid_band"] == pytest.approx(1)


def test_coverage_is_not_measured_on_what_calibrated_it():
    def sample(noise):
        flat = np.zeros((50, 50), np.float32)
        truth = np.random.default_rng(0).normal(0, noise, (50, 50)).astype(np.float32)
        return Sample(truth=truth, guesses=(flat,), scale=flat + 1, below=flat, above=flat, t=0.5, base=flat, peak=1.0)

    def share(*noise):
        samples = [sample(n) for n in noise]
        return held_out_coverage(samples, cross_fitted(samples))

    assert share(1, 1) == pytest.approx(0.9, abs=0.02)
    assert share(1, 3) < 0.75
    assert share(1) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gap": 0}, "gap of 0 sections is outside 1 to 4"),
        ({"gap": 5}, "gap of 5 sections"),
        ({"gap": 4, "z": 8}, "needs at least 9 sections, got 8"),
        ({"sections": [0]}, "section 0 has no neighbours 1 sections away"),
        ({"sections": [40]}, "outside the stack"),
        ({"limit": 0}, "limit of 0 sections"),
        ({"method": "magic"}, "unknown interpolate method"),
        ({"method": "linear", "weights": "x"}, "no weights to choose"),
    ],
)
def test_bad_requests(options, words):
    with pytest.raises(InputError, match=words):
        evaluate(stack(options.pop("z", 11)), **({"method": "linear"} | options))
