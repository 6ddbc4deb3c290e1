"""What super-resolution can be asked for, refused in one line where it cannot."""

from __future__ import annotations

from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.spec import MethodSpec

FACTORS = (8, 16)
# The patch that networks compare and align; in smaller sections they have nothing to go by.
LEAST_EDGE = 16


def check_number(factor: Any) -> int:
    """Return a factor that there is.

    Raises:
        InputError: neither 8 nor 16.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float) or factor not in FACTORS:
        raise InputError(f"factor {factor!r} is not one of {_listed(FACTORS)}")
    return int(factor)


def check_factor(spec: MethodSpec, factor: Any) -> int:
    """Return the factor as the method can do it.

    Raises:
        InputError: neither 8 nor 16, or one beyond the method.
    """
    number, known = check_number(factor), spec.factors or FACTORS
    if number not in known:
        raise InputError(f"{spec.name} makes pixels {_listed(known)} times smaller, not {number}")
    return number


def check_shape(shape: Shape) -> None:
    """Refuse sections that are smaller than a patch.

    Raises:
        InputError: they are.
    """
    if min(shape[1:]) < LEAST_EDGE:
        raise InputError(
            f"sections of {shape[1]} x {shape[2]} px are smaller than a patch: the limit is "
            f"{LEAST_EDGE} x {LEAST_EDGE} px"
        )


def weights_for(spec: MethodSpec, weights: str | None, factor: int) -> str | None:
    """Return the weights asked for, else the method's for a factor: their names end in ``x8`` or ``x16``."""
    if weights is not None:
        return weights
    return next((name for name in spec.weights if name.endswith(f"x{factor}")), None)


def _listed(factors: tuple[int, ...]) -> str:
    return " or ".join(str(factor) for factor in factors)
