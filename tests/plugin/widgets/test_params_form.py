"""The round-trip law: defaults in = defaults out, any valid value in = the same value out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from napari_emsynth.params import Params, param
from napari_emsynth.plugin.restore.dock import SettingsForm
from napari_emsynth.plugin.restore.request import Settings
from napari_emsynth.plugin.widgets.params_form import ParamsForm


@dataclass(frozen=True, kw_only=True)
class Every(Params):
    """One parameter of each kind."""

    rate: float = param(2e-4, "learning rate", low=0.0, high=1.0)
    sigma: float = param(1.5, "blur", unit="px", low=0.1, high=50.0, step=0.5, advanced=True)
    steps: int = param(3, "steps", low=1, high=9)
    seed: int = param(2**40, "large")
    fast: bool = param(True, "fast")
    kind: str = param("b", "kind", choices=("a", "b", "c"))
    label: str = param("free text", "label", advanced=True)


def test_defaults_in_defaults_out(qtbot: Any) -> None:
    form = ParamsForm(Every)
    qtbot.addWidget(form)
    assert form.value() == Every()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.builds(
        Every,
        rate=st.floats(1e-12, 1.0), sigma=st.floats(0.1, 50.0), steps=st.integers(1, 9),
        seed=st.integers(-(10**12), 10**12), fast=st.booleans(), kind=st.sampled_from("abc"),
        label=st.text("abc xyz", max_size=8),
    )
)  # fmt: skip
def test_any_value_in_the_same_out(qtbot: Any, value: Every) -> None:
    form = ParamsForm(Every)
    form.set_value(value)
    assert form.value() == value
    form.deleteLater()


def test_typing_a_value_emits_it(qtbot: Any) -> None:
    form = ParamsForm(Every)
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.value_changed):
        form.widgets["rate"].value = 3e-5
    assert form.widgets["rate"].value == 3e-5
    assert form.widgets["rate"].native.text() == "3e-05"


def test_settings_round_trip(qtbot: Any) -> None:
    form = SettingsForm(Settings())
    qtbot.addWidget(form)
    assert form.value() == Settings()
    other = Settings(
        method="linear", device="cpu", precision="fp32", tile=256, seed=5, selfcheck=False, place="in place",
        lazy=True, with_mask=False, with_uncertainty=True,
    )  # fmt: skip
    form.set_value(other)
    assert form.value() == other


@pytest.mark.parametrize("method", ["emsynth", "optical-flow", "linear"])
def test_every_method_makes_a_form(qtbot: Any, method: str) -> None:
    from napari_emsynth.plugin.jobs.engine import load

    form = SettingsForm(replace(Settings(), method=method))
    qtbot.addWidget(form)
    form.set_engine(load())
    assert form.value() == Settings(method=method)
    assert form.minimumSizeHint().width() <= 320


def test_every_method_can_follow_every_other(qtbot: Any) -> None:
    from napari_emsynth.plugin.jobs.engine import load

    form = SettingsForm(Settings())
    qtbot.addWidget(form)
    form.set_engine(load())
    names = [form.method.itemData(n) for n in range(form.method.count())]
    for first in names:
        for then in names:
            form.set_value(Settings(method=first, tile=128))
            form.method.setCurrentIndex(form.method.findData(then))
            form.method.activated.emit(form.method.currentIndex())
            assert form.value() == Settings(method=then, tile=128)
