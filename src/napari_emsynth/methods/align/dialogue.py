"""Work that asks a registrar now and then, written down as if each piece of it were alone.

A dialogue is a generator: it yields the questions it has now, is sent their answers, and returns what it made of them.
Several dialogues are held side by side by putting one round's questions of all of them together: what does not depend
on each other is answered in one go, which is what keeps a GPU busy, and saves the CPU the same steps again and again.

Law: side by side, every dialogue gets the answers it would get alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import islice
from typing import TypeVar

from napari_emsynth.methods.align.protocol import PairField, Question, Registrar, answers
from napari_emsynth.spec import Runtime

T = TypeVar("T")
Dialogue = Generator[Sequence[Question], Sequence[PairField], T]
"""Yields questions, takes their answers in the same order, returns T."""


def side_by_side(dialogues: Sequence[Dialogue[T]]) -> Dialogue[list[T]]:
    """Hold several dialogues at once, round by round; returns what each of them returns."""
    returned: dict[int, T] = {}
    waiting: dict[int, Sequence[Question]] = {}

    def go_on(i: int, given: Sequence[PairField] | None) -> None:
        try:
            waiting[i] = dialogues[i].send(given)  # type: ignore[arg-type]  # None begins
        except StopIteration as end:
            waiting.pop(i, None)
            returned[i] = end.value

    for i in range(len(dialogues)):
        go_on(i, None)
    while waiting:
        asking = sorted(waiting)
        given = iter((yield [question for i in asking for question in waiting[i]]))
        for i in asking:
            go_on(i, list(islice(given, len(waiting[i]))))
    return [returned[i] for i in range(len(dialogues))]


def held(dialogue: Dialogue[T], method: Registrar, runtime: Runtime) -> T:
    """Hold a dialogue with a registrar to its end, and return what it returns.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    try:
        questions = next(dialogue)
        while True:
            questions = dialogue.send(answers(method, questions, runtime))
    except StopIteration as end:
        value: T = end.value
        return value
