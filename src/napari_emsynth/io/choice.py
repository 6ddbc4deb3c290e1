"""Which part of a file is meant, where it holds several: series, channel, time, resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_emsynth.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to read of a file; None of each leaves it open, which is refused where there are several.

    Args:
        series: index of the image, where a file holds several.
        channel: index of the channel, or of the colour.
        time: index of the time point.
        level: index of the resolution, 0 the finest.
        labels: values are ids or marks, so numbers are kept as they are stored, whatever they are shown as.
    """

    series: int | None = None
    channel: int | None = None
    time: int | None = None
    level: int | None = None
    labels: bool = False

    def __bool__(self) -> bool:
        return bool(self.picked)

    @property
    def picked(self) -> dict[str, int]:
        """What was chosen, by name."""
        return {name: index for name, index in asdict(self).items() if index is not None and name != "labels"}

    def pick(self, path: object, what: str, found: Sequence[str]) -> int:
        """Return the index chosen among what a file holds.

        Args:
            path: of the file.
            what: is chosen: "series", "channel", "time" or "level".
            found: what there is, in words.

        Raises:
            ChoiceError: several, and none is chosen.
            InputError: the one chosen is not there.
        """
        chosen: int | None = getattr(self, what)
        if chosen is not None:
            if not 0 <= chosen < len(found):
                held = _listed(found) if len(set(found)) > 1 else str(len(found))
                raise InputError(f"--{what} {chosen} is outside 0 to {len(found) - 1} of {path}, which holds {held}")
            return chosen
        if len(found) > 1 and what != "level":
            others: list[dict[str, Any]] = [{what: index} for index in range(len(found))]
            choices = tuple(replace(self, **other) for other in others)
            raise ChoiceError(
                f"{path} holds {len(found)} {PLURAL[what]}: {_listed(found)}; choose with --{what} N", choices
            )
        return 0


EVERYTHING = Choice()
"""Nothing is chosen."""

PLURAL = {"series": "series", "channel": "channels", "time": "times"}


class ChoiceError(InputError):
    """A file holds several things, of which one must be chosen.

    Args:
        line: what it holds.
        choices: what can be asked for.
    """

    def __init__(self, line: str, choices: tuple[Choice, ...]) -> None:
        super().__init__(line)
        self.choices = choices


def _listed(found: Sequence[str], most: int = 8) -> str:
    shown = [f"{index} ({words})" if words else str(index) for index, words in enumerate(found[:most])]
    return ", ".join(shown) + (f" and {len(found) - most} more" if len(found) > most else "")
