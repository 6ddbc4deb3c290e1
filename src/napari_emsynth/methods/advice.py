"""What to do where a method loses: which rival won, and how to ask for it.

Rivals are scored by name beside a method. Some of them are methods of their own, and can be used instead; others are no
method, and what they gain must be said instead: a blur gains decibels on noisy sections and shows less. Laws: what is
advised never scores below the method it replaces, and no method of the task that was scored does better; where the
method itself scores at least as well as every rival there is no advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_emsynth.spec import MethodSpec, Task

DECIMALS = 2
# Which method a rival is, by task.
METHODS: Mapping[Task, Mapping[str, str]] = {
    "interpolate": {"linear": "linear", "fitted": "fitted", "optical_flow": "optical-flow"},
    "upsample": {"linear": "linear", "linear_back_projected": "linear", "kriging": "kriging"},
    "superres": {"bicubic": "bicubic"},
    "align": {"optical_flow": "optical-flow"},
}
# What the others are, and what to do where one of them wins.
NO_METHOD: Mapping[str, str] = {
    "blurred_linear": "its margin is blur, which wins on noisy sections and shows less; no method blurs: judge by the "
    "scores at half and quarter resolution (emsynth evaluate), or smooth the volume before",
    "blurred_z": "its margin is blur along z, which shows less; no method blurs: judge by the scores at half and "
    "quarter resolution (emsynth evaluate)",
    "nearest": "that is a copy, and no method copies: what changes from section to section is too little, or too much, "
    "to be told here",
    "linear_not_back_projected": "it is not consistent with what was acquired, and no method gives it",
    "jittered": "prefer the input as it is",
    "pixels_as_they_are": "finer ones would gain nothing",
}


@dataclass(frozen=True)
class Advice:
    """What to do instead.

    Args:
        instead: id of the method of the task that did best; None when none did better.
        beaten: what happened, in words.
        then: what to do, in words.
    """

    instead: str | None
    beaten: str
    then: str

    def line(self, where: str) -> str:
        """Return a sentence for the user.

        Args:
            where: the rivals were scored, such as "on hidden sections of this volume".
        """
        return f"{self.beaten} {where}: {self.then}"


def advice(
    spec: MethodSpec,
    scores: Mapping[str, float],
    *,
    unit: str = "dB",
    best: Callable[[Iterable[float]], float] = max,
    ties: bool = False,
) -> Advice | None:
    """Return what to do where rivals beat a method; None where none does.

    Args:
        spec: of the method.
        scores: of the method, by its id, and of the rivals, by their names.
        unit: of the scores.
        best: ``max``, or ``min`` where less is better.
        ties: a rival that is as good wins, as where the rival is to do nothing.
    """
    # What is told to two decimals is compared so: nobody is advised to change for what cannot be seen.
    scores = {name: round(score, DECIMALS) for name, score in scores.items()}
    ours = scores[spec.id]
    ahead = {n: s for n, s in scores.items() if n != spec.id and best((s, ours)) == s and (ties or s != ours)}
    if not ahead:
        return None
    methods = {name: id_ for name, id_ in METHODS[spec.task].items() if name in ahead and id_ != spec.id}
    first = _best(ahead, best)
    verb = "is no better than" if ahead[first] == ours else "does not beat"
    beaten = f"{spec.title}, {ours:.2f} {unit}, {verb} {_scored(first, ahead, unit)}"
    remark = "" if first in methods else NO_METHOD.get(first, "no method gives that")
    if not methods:
        return Advice(None, beaten, remark)
    winner = _best({name: ahead[name] for name in methods}, best)
    use = f"use --method {methods[winner]} (in Python method={methods[winner]!r})"
    if remark:
        use = f"{remark}; but {_scored(winner, ahead, unit)}, does better too: {use}"
    return Advice(methods[winner], beaten, use)


def told(found: Advice | None, where: str) -> dict[str, str | None]:
    """Return what records say: the method to use instead, if there is one, and a sentence."""
    if found is None:
        return {"instead": None, "advice": None}
    return {"instead": found.instead, "advice": found.line(where)}


def verdict(found: Advice | None, where: str) -> dict[str, Any]:
    """Return what reports say: whether a method beats every rival, and what records say."""
    return {"beats_floors": found is None, **told(found, where)}


def _best(scores: Mapping[str, float], best: Callable[[Iterable[float]], float]) -> str:
    top = best(scores.values())
    return next(name for name, score in scores.items() if score == top)


def _scored(candidate: str, scores: Mapping[str, float], unit: str) -> str:
    return f"{candidate.replace('_', ' ')}, {scores[candidate]:.2f} {unit}"
