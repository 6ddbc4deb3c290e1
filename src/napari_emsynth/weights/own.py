"""The user's own weights: a folder of ``W.safetensors``, each with its card ``W.toml`` beside it.

Looking at it loads neither torch nor any weights.
"""

from __future__ import annotations

import re
from pathlib import Path

from napari_emsynth.errors import InputError
from napari_emsynth.weights.card import Card

# What a name may be: a suffix or a folder in it would make it a file to everything that takes weights.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
LONGEST_NAME = 80
SCRATCH = "scratch"


def folder() -> Path:
    """Return the folder of the user's own weights (it may not exist yet)."""
    from platformdirs import user_data_path

    return Path(user_data_path("napari-emsynth", appauthor=False)) / "weights"


def names(method: str) -> list[str]:
    """Return the names of the user's own weights for a method, in alphabetical order; unreadable cards are left out."""
    found = []
    for path in sorted(folder().glob("*.toml")):
        try:
            card = Card.of_file(path)
        except InputError:
            continue
        if card.method == method and path.with_suffix(".safetensors").exists():
            found.append(path.stem)
    return found


def file_of(name: str, bundled: tuple[str, ...] = ()) -> Path:
    """Return the file that weights of this name are kept in.

    Args:
        name: letters, digits, ``-`` and ``_``.
        bundled: names that are taken.

    Raises:
        InputError: no such name, or a taken one.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InputError(
            f"{name!r} is no name for weights: needs 1 to {LONGEST_NAME} letters, digits, - or _, "
            "a letter or digit first"
        )
    if name in (*bundled, SCRATCH):
        raise InputError(f"{name!r} is the name of bundled weights; choose another")
    return folder() / f"{name}.safetensors"
