"""The device that is not the CPU: it answers as the CPU does, refuses to mix, and counts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_emsynth.testing import second_device
from napari_emsynth.testing.second_device import NAME, Second, on_both

if not second_device.AVAILABLE:
    pytest.skip("this PyTorch has no devices that are made in Python", allow_module_level=True)
second_device.register()


@pytest.fixture
def counts():
    with second_device.second_device() as counts:
        yield counts


def network():
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Conv2d(4, 1, 3))
    return torch.nn.Sequential(*layers)


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def equal(a, b):
    return torch.equal(a.cpu(), b.cpu())


def test_modules_answer_as_on_the_cpu(counts):
    here, there = network().eval(), network().eval().to(NAME)
    x = images(3, 2, 12, 12)
    with torch.inference_mode():
        answer = there(x.to(NAME))
        assert answer.device == torch.device(NAME, 0)
        assert equal(answer, here(x))
    assert equal(there(x.to(NAME)), here(x))


def test_a_network_may_call_a_part_as_the_device_is_called():
    whole = torch.nn.Module()
    whole.add_module(NAME, torch.nn.Linear(2, 1))
    assert isinstance(getattr(whole, NAME), torch.nn.Linear)


def test_learning_is_the_same_to_the_last_bit():
    def learned(device):
        learner = network().to(device)
        optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-2)
        x = images(2, 2, 16, 16).to(device)
        torch.manual_seed(3)
        for _ in range(3):
            optimiser.zero_grad()
            F.smooth_l1_loss(learner(x), x[:, :1, 2:-2, 2:-2]).backward()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 0.1)
            optimiser.step()
        return learner.state_dict()

    here, there, counts = on_both(learned)
    assert all(equal(there[name], here[name]) for name in here)
    assert any((here[name] != value).any() for name, value in network().state_dict().items())
    assert counts.operations > 100
    assert counts.there == len(here) + 1


def test_compound_operations_and_tensors_made_there(counts):
    x = images(2, 3, 5, 7)
    with torch.inference_mode():
        for device in ("cpu", NAME):
            y = F.interpolate(x.to(device), scale_factor=2, mode="bilinear", align_corners=False)
            made = torch.arange(14, device=device) + torch.tensor([0.5], device=device)
            y = torch.einsum("bcyx,x->bcy", y, made) @ torch.eye(10, device=device)
            grid = F.affine_grid(torch.ones(2, 2, 3, device=device), (2, 1, 4, 4), align_corners=False)
            y = F.grid_sample(y[:, None], grid, align_corners=False)
            if device == "cpu":
                expected = y
    assert equal(y, expected)


def test_what_is_written_in_place_stays(counts):
    x = torch.zeros(4, 6, device=NAME)
    x[1:3, ::2] += 2
    x[:, 5].copy_(torch.ones(4))
    x.t_().mul_(3)
    expected = torch.zeros(4, 6)
    expected[1:3, ::2] = 2
    expected[:, 5] = 1
    assert x.shape == (6, 4)
    assert equal(x, 3 * expected.T)


def test_layouts_are_those_of_the_cpu_and_can_be_given(counts):
    parameter = torch.nn.Parameter(images(3, 2, 4, 5)).to(NAME)
    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    assert parameter.is_contiguous(memory_format=torch.channels_last)
    assert parameter.held.stride() == parameter.stride()
    assert equal(parameter, images(3, 2, 4, 5))


@pytest.mark.parametrize(
    "mix",
    [lambda a, b: a + b, lambda a, b: b + a, lambda a, b: torch.cat((a, b)), lambda a, b: F.linear(a, b),
     lambda a, b: a.mul_(b), lambda a, b: torch.where(a > 0, a, b)],
)  # fmt: skip
def test_two_devices_do_not_mix(counts, mix):
    with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
        mix(torch.ones(2, 2, device=NAME), torch.ones(2, 2))


def test_numbers_and_indices_may_lie_on_the_cpu(counts):
    x = torch.arange(6.0, device=NAME)
    assert (x * torch.tensor(2.0)).tolist() == [0, 2, 4, 6, 8, 10]
    there = counts.there
    assert x[torch.tensor([4, 1])].tolist() == [4, 1]
    assert counts.there == there + 1


def test_a_generator_of_the_cpu_cannot_draw_there(counts):
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.randn(3, device=NAME, generator=torch.Generator().manual_seed(0))


def test_its_values_are_not_had_without_a_copy(counts):
    with pytest.raises((RuntimeError, TypeError)):
        np.asarray(torch.ones(3, device=NAME))
    with pytest.raises((RuntimeError, TypeError)):
        torch.ones(3, device=NAME).numpy()


@pytest.mark.parametrize(
    ("act", "there", "back"),
    [
        (lambda x: x + x, 0, 0),
        (lambda x: x.cpu(), 0, 1),
        (lambda x: x.sum().item(), 0, 1),
        (lambda x: bool((x > 0).all()), 0, 1),
        (lambda x: x.tolist(), 0, 1),
        (lambda x: x[x > 0], 0, 1),
        (lambda x: torch.nonzero(x), 0, 1),
        (lambda x: torch.ones(3).to(NAME), 1, 0),
        (lambda x: torch.tensor([1.0, 2.0], device=NAME), 1, 0),
        (lambda x: torch.as_tensor(np.ones(2)).to(x), 1, 0),
        (lambda x: x.double(), 0, 0),
        (lambda x: torch.zeros(2, device=x.device), 0, 0),
        (lambda x: torch.empty(4).copy_(x), 0, 1),
    ],
)
def test_copies_and_waits_are_counted(counts, act, there, back):
    x = torch.ones(4, device=NAME)
    before = (counts.there, counts.back)
    act(x)
    assert (counts.there - before[0], counts.back - before[1]) == (there, back)


def test_only_what_happens_there_is_counted(counts):
    images(3, 3) + 1
    assert counts.operations == 0
    torch.ones(3, device=NAME) + 1
    assert counts.operations == 2


def test_counts_of_one_use_are_not_those_of_another():
    with second_device.second_device() as outer:
        x = torch.ones(3, device=NAME)
        with second_device.second_device() as inner:
            x = x + x
        assert isinstance(x, Second)
        assert (outer.operations, inner.operations) == (1, 1)
