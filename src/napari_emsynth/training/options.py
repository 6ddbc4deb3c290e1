"""What training is asked."""

from __future__ import annotations

from dataclasses import dataclass

from napari_emsynth.options import Described, option


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Described):
    """How long a method is trained, from what, and what for; the budget is checked with the file, by the job."""

    minutes: float | None = option(None, "How long to train.", metavar="F", word=float, python="Excludes ``steps``.")
    steps: int | None = option(None, "How many steps to train, instead of --minutes.", metavar="N", word=int)
    start: str | None = option(
        None, "Weights to start from, or scratch; by default the bundled ones.", metavar="NAME|FILE", said_as="from"
    )
    objective: str | None = option(
        None, "What to train for; by default what the starting weights were made for.", metavar="NAME"
    )
    only: str | None = option(None, "Train one part, of methods that are learned in parts or stages.", metavar="PART")
    resume: bool = option(False, "Go on with a killed run; what is not given is as it was.", kind="switch")
    save_anyway: bool = option(
        False, "Write weights even when nothing beat what it started from.", kind="switch",
        python="By default nothing is written then, and ``file`` of the report is None.",
    )  # fmt: skip
