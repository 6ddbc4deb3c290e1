"""Every method, and a step of every recipe, on a device that is not the CPU: the same answers, with few copies.

The tables state the most operations on the device, copies there and copies back (or waits for a number) that each may
take; all are a little above what was counted. A GPU that waits for every few operations is no faster than the CPU.
"""

import numpy as np
import pytest
import torch

import napari_emsynth as es
from napari_emsynth.errors import InputError
from napari_emsynth.testing import second_device
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.tiling.device import bare_name, describe, free_bytes, resolve
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

if not second_device.AVAILABLE:
    pytest.skip("this PyTorch has no devices that are made in Python", allow_module_level=True)
second_device.register()

VOXEL_NM = (10.0, 10.0, 10.0)
STACK = Phantom(shape=(7, 48, 48), drift=0.3, noise=3.0).volume().data
BLOCK = np.random.default_rng(0).integers(60, 190, (60, 96, 96)).astype(np.uint8)
DATA = TrainingData(blocks=[BLOCK], held_out=[BLOCK[:6]])
SCAN = Phantom(shape=(5, 16, 16), drift=0.3, noise=3.0).volume().data

# One method descends from section to section: it is given more of them, and fewer steps than the 40 of its default.
CHAIN = Phantom(shape=(9, 64, 64), drift=0.3, noise=3.0).volume().data
STEPS = {"iterations": 10}
# By method and weights: operations, copies there, copies back.
METHODS = {
    "interpolate/emsynth accurate": (1_300, 75, 3),
    "interpolate/emsynth natural": (1_300, 75, 3),
    "interpolate/jain2017 pixel": (320, 30, 3),
    "interpolate/jain2017 adversarial": (320, 30, 3),
    "align/emsynth hybrid": (3_800, 85, 2),
    "align/ssemnet autoencoder": (7_800, 90, 4),
    "align/li2017 pairs": (7_900, 160, 105),
    "align/jain2017 mixed": (130, 30, 1),
    "align/jain2017 adversarial": (130, 30, 1),
    "upsample/emsynth accurate": (2_700, 140, 7),
    "upsample/jain2017 adversarial": (140, 30, 1),
    "superres/single-stage x8": (760, 55, 5),
    "superres/single-stage x16": (790, 55, 5),
    "superres/gpemsr x8": (6_200, 290, 5),
    "superres/gpemsr x16": (6_300, 290, 5),
}
# What makes a step of training small.
SMALL = {
    "interpolate/emsynth": {"batch": 1, "size": 32},
    "interpolate/jain2017": {"batch": 1, "size": 48, "config": {"maps": 8}},
    "align/emsynth": {"batch": 1, "size": 64},
    "align/ssemnet": {"batch": 1, "size": 32},
    "align/li2017": {"batch": 1, "size": 32},
    "align/jain2017": {"size": 24, "config": {"kind": "alignment", "maps": 2, "depth": 1}},
    "upsample/emsynth": {"batch": 1, "size": 32},
    "upsample/jain2017": {"config": {"kind": "superresolution", "maps": 2, "depth": 1}},
    "superres/single-stage": {"batch": 1, "size": 64},
    "superres/gpemsr": {"batch": 1, "size": 64, "config": {"blocks": 1, "rebuild": 1, "code_blocks": 1}},
}
# By method and objective, of as many steps as there are stages: the same.
RECIPES = {
    "interpolate/emsynth accurate": (2_250, 92, 4),
    "interpolate/emsynth natural": (4_500, 120, 10),
    "interpolate/jain2017 pixel": (610, 35, 2),
    "interpolate/jain2017 adversarial": (1_400, 50, 4),
    "align/emsynth hybrid": (7_800, 90, 4),
    "align/emsynth equivariant": (3_600, 80, 1),
    "align/emsynth warps": (2_300, 75, 1),
    "align/ssemnet autoencoder": (700, 35, 1),
    "align/li2017 pairs": (1_400, 50, 1),
    "align/jain2017 mixed": (1_200, 30, 4),
    "align/jain2017 adversarial": (1_200, 30, 4),
    "upsample/emsynth accurate": (1_600, 130, 1),
    "upsample/jain2017 adversarial": (1_200, 30, 4),
    "superres/single-stage x8": (980, 50, 1),
    "superres/single-stage x16": (1_020, 50, 1),
    "superres/gpemsr x8": (5_800, 280, 11),
    "superres/gpemsr x16": (5_800, 280, 11),
}


def asked(name, weights, device):
    """What a method makes of a small volume; where that is quick, with the self-check."""
    task, method = name.split("/")
    common = {"method": method, "weights": weights, "device": device, "voxel_nm": VOXEL_NM}
    if task == "interpolate":
        return es.interpolate(STACK, [3], **common)
    if task == "align":
        if method == "ssemnet":
            return es.align(CHAIN, params=STEPS, **common)
        return es.align(STACK, selfcheck=method == "emsynth", **common)
    if task == "upsample":
        return es.upsample(STACK, 2, selfcheck=False, **common)
    return es.superresolve(SCAN, 16 if weights == "x16" else 8, selfcheck=False, **common)


def parts(result):
    """Every array of a result, by name."""
    names = ("volume", "synthetic", "uncertainty", "prior", "residual")
    found = {name: volume.data for name in names if (volume := getattr(result, name)) is not None}
    if result.displacement is not None:
        found |= {"displacement": result.displacement.data, "confidence": result.confidence}
    return {name: np.asarray(array) for name, array in found.items()}


def said(result):
    """What its record says but where and when it was computed; the self-check is part of it."""
    return {k: v for k, v in result.provenance.items() if k not in ("device", "created", "seconds")}


def within(counts, most):
    assert counts.operations <= most[0], counts
    assert counts.there <= most[1], counts
    assert counts.back <= most[2], counts


def cases(of):
    """Every method with each of its weights (or None), or with each of its objectives."""
    found = [(spec, name) for spec in es.methods() for name in of(spec)]
    return pytest.mark.parametrize(("spec", "which"), found, ids=[f"{s.name} {n}" for s, n in found])


@cases(lambda spec: spec.weights or (None,))
def test_a_method_answers_as_on_the_cpu(spec, which):
    here, there, counts = second_device.on_both(lambda device: asked(spec.name, which, device))
    found, expected = parts(there), parts(here)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert said(there) == said(here)
    assert (counts.operations > 0) == bool(spec.weights)
    within(counts, METHODS.get(f"{spec.name} {which}", (0, 0, 0)))


@cases(lambda spec: spec.recipes)
def test_training_is_that_of_the_cpu(spec, which):
    def learned(device):
        torch.manual_seed(0)
        recipe = spec.recipes[which](DATA, **SMALL[spec.name])
        steps = len(getattr(recipe, "stages", "1"))
        learner = recipe.learner(Plan(steps=steps), resolve(device))
        terms = [learner.step(np.random.default_rng(k), 1e-3) for k in range(steps)]
        return terms, learner.network.state_dict()

    (here, network), (there, other), counts = second_device.on_both(learned)
    assert there == here
    assert all(np.isfinite(value) for terms in here for value in terms.values())
    for name, tensor in network.items():
        assert torch.equal(other[name].cpu(), tensor), name
    within(counts, RECIPES[f"{spec.name} {which}"])


def test_it_has_a_name_that_is_known():
    assert str(resolve(second_device.NAME)) == bare_name("second:0") == describe("second") == "second:0"
    assert free_bytes(resolve("second")) is None
    for name in ("second:1", "second:x", "third"):
        with pytest.raises(InputError, match="is not one of auto, cpu, cuda, cuda:n, mps"):
            resolve(name)
