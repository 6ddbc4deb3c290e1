"""The card of a weights file: what it was trained on, how well it does, what it is for.

A bundled file ``<id>.safetensors`` has its card in ``cards/<id>.toml``; a user's file ``W.safetensors`` has its card
in ``W.toml`` beside it. Law: ``Card.from_toml(card.to_toml()) == card``.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.io.stored import opening


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything worth knowing of a weights file.

    Args:
        id: file name without its ending.
        method: TASK/ID it belongs to.
        name: as given to ``--weights``.
        sha256: of the file, hexadecimal.
        objective: name of the training recipe that made it; fine-tuning goes on with the same one. "" for the
            method's default.
        data: the volumes it was trained on.
        licence: of those volumes, and what it asks for.
        steps: optimiser steps.
        seconds: of training.
        device: it was trained on.
        config: of the architecture, as JSON values.
        factor: from predicted scale to the half width of the 90 % interval, measured on held-out sections.
        factors: pairs of a volume's smoothness and that factor, where it depends on it; rising in smoothness.
        voxel_nm: smallest and largest pixel size in nm it was trained for (simulated ones included).
        figures: measured on eval data, beside the floors: table name -> figure name -> value.
    """

    id: str
    method: str
    name: str
    sha256: str = ""
    objective: str = ""
    data: str = ""
    licence: str = ""
    steps: int = 0
    seconds: float = 0.0
    device: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    factors: tuple[tuple[float, float], ...] = ()
    voxel_nm: tuple[float, float] = (0.0, float("inf"))
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_toml(self) -> str:
        """Return the card as TOML text."""
        plain = {k: v for k, v in asdict(self).items() if k not in ("config", "figures")}
        lines = [f"{key} = {_value(value)}" for key, value in plain.items()]
        for title, table in (("config", self.config), *((f"figures.{_value(k)}", v) for k, v in self.figures.items())):
            lines += ["", f"[{title}]", *(f"{_value(k)} = {_value(v)}" for k, v in table.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def of_file(cls, path: Path) -> Card:
        """Read the card in a file.

        Raises:
            InputError: not a card of ours; the line names the file.
        """
        with opening(path, "a card of weights"):
            return cls.from_toml(path.read_text(encoding="utf-8"))

    @classmethod
    def from_toml(cls, text: str) -> Card:
        """Read a card.

        Raises:
            InputError: not TOML, or not a card of ours.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"the card is not TOML: {error}") from None
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"the card has an unknown entry {unknown[0]!r}")
        for needed in ("id", "method", "name"):
            if not isinstance(values.get(needed), str):
                raise InputError(f"the card lacks {needed!r}")
        if "voxel_nm" in values:
            values["voxel_nm"] = tuple(values["voxel_nm"])
        if "factors" in values:
            values["factors"] = tuple(tuple(pair) for pair in values["factors"])
        return cls(**values)


def _value(value: Any) -> str:
    """Write a TOML value; JSON's strings, numbers, booleans and arrays are TOML's, infinity and objects are not."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and value == float("inf"):
        return "inf"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value)
