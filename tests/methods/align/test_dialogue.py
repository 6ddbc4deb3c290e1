"""Questions asked together are answered as if each dialogue were alone."""

import numpy as np
import pytest

from napari_emsynth.methods.align.dialogue import held, side_by_side
from napari_emsynth.methods.align.protocol import Joint, Neighbour, PairField, Question, answers
from napari_emsynth.spec import Runtime

CPU = Runtime(device="cpu")


class OneByOne:
    """Answers the mean of a section."""

    how = "pairs"

    def __init__(self):
        self.rounds = []

    def __call__(self, moving, fixed, known, runtime):
        self.rounds.append(1)
        return PairField(np.full((2, 1, 1), moving.mean(), np.float32), np.ones((1, 1), np.float32))


class Together(OneByOne):
    """The same, of several at once."""

    def together(self, questions, runtime):
        assert len({q.moving.shape for q in questions}) == 1
        self.rounds.append(len(questions))
        return [PairField(np.full((2, 1, 1), q.moving.mean(), np.float32), np.ones((1, 1))) for q in questions]


def question(value, shape=(3, 4)):
    image = np.full(shape, value, np.float32)
    return Question(image, [Neighbour(image)])


def countdown(value, shape=(3, 4)):
    """Ask about a value, and then about what is left of it, until nothing is."""
    seen = []
    while value > 0:
        (found,) = yield [question(value, shape)]
        seen.append(float(found.displacement[0, 0, 0]))
        value = seen[-1] - 1
    return seen


def two_at_once():
    a, b = yield [question(7), question(8)]
    return [float(a.displacement[0, 0, 0]), float(b.displacement[0, 0, 0])]


@pytest.mark.parametrize("kind", [OneByOne, Together])
def test_each_gets_its_own_answers_and_returns_its_own_value(kind):
    method = kind()
    assert isinstance(method, Joint) == (kind is Together)
    dialogues = [countdown(2), countdown(0), countdown(3, (5, 6)), two_at_once(), countdown(1)]
    found = held(side_by_side(dialogues), method, CPU)
    assert found == [[2, 1], [], [3, 2, 1], [7, 8], [1]]
    # Rounds of both sizes: the first of five questions, four of one size, and so on.
    assert method.rounds == ([1] * 8 if kind is OneByOne else [4, 1, 1, 1, 1])


def test_side_by_side_may_be_nested():
    inner = [side_by_side([countdown(2), countdown(1)]), side_by_side([two_at_once()])]
    method = Together()
    assert held(side_by_side(inner), method, CPU) == [[[2, 1], [1]], [[7, 8]]]
    assert method.rounds == [4, 1]


def test_what_goes_wrong_in_one_is_not_hidden():
    def broken():
        yield [question(1)]
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        held(side_by_side([countdown(3), broken()]), Together(), CPU)


def test_answers_keep_the_order_of_questions_of_any_size():
    shapes = [(3, 4), (5, 5), (3, 4), (2, 2), (5, 5)]
    found = answers(Together(), [question(k, shape) for k, shape in enumerate(shapes)], CPU)
    assert [float(f.displacement[0, 0, 0]) for f in found] == [0, 1, 2, 3, 4]
