"""The registrars of others: (moving [y, x], fixed [y, x]) -> u [2, y, x] with ``moving(p + u(p)) ~ fixed(p)``.

Images are float32 on the 8-bit scale; displacements (dy, dx) px. Every one is set up as its makers advise for such
images, or better where a few trials on training data said so. Elastix runs in a process of its own
(``align_elastix.py``): it can take its host down with it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

Image = np.ndarray
Field = np.ndarray
Pairs = Sequence[tuple[Image, Image]]

ELASTIX = Path(__file__).with_name("align_elastix.py")


@dataclass(frozen=True)
class Answers:
    """Fields of all pairs [2, y, x], and the seconds each took: on the clock, and of the processor."""

    fields: list[Field]
    seconds: list[float]
    cpu: list[float]


@dataclass(frozen=True)
class Peer:
    """Somebody else's registrar.

    Args:
        name: in the table.
        needs: module it comes from; "" for what the project depends on anyway.
        pair: its answer to one pair; None where ``batch`` is used.
        batch: its answer to many.
        stack: its own way with a whole stack [z, y, x] -> [z, 2, y, x], where it has one.
        slow: too slow to be asked about more than the section before each, and about more than one stack.
    """

    name: str
    needs: str
    pair: Callable[[Image, Image], Field] | None = None
    batch: Callable[[Pairs, int], Answers] | None = None
    stack: Callable[[np.ndarray], Field] | None = None
    slow: bool = False

    @property
    def missing(self) -> bool:
        """True when its module is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


def unit(image: Image) -> Image:
    """Return [y, x] of zero mean and unit deviation."""
    return (image - image.mean()) / max(float(image.std()), 1e-6)


def bytes_of(image: Image) -> Image:
    """Return [y, x] stretched to uint8 between 3 deviations."""
    return np.clip(127.5 + 42.5 * unit(image), 0, 255).astype(np.uint8)


def affine_field(matrix: np.ndarray, shape: tuple[int, int]) -> Field:
    """Return the displacement of a 3x3 matrix that takes output (x, y, 1) to input."""
    y, x = np.indices(shape, dtype=float)
    there = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(y.size)])
    return np.stack([there[1].reshape(shape) - y, there[0].reshape(shape) - x]).astype(np.float32)


def nothing(moving: Image, fixed: Image) -> Field:  # noqa: ARG001
    """Leave the section where it is."""
    return np.zeros((2, *moving.shape), np.float32)


def stackreg_pair(moving: Image, fixed: Image) -> Field:
    from pystackreg import StackReg

    return affine_field(StackReg(StackReg.AFFINE).register(fixed, moving), moving.shape)


def stackreg_stack(stack: np.ndarray) -> Field:
    from pystackreg import StackReg

    matrices = StackReg(StackReg.RIGID_BODY).register_stack(stack, reference="previous")
    return np.stack([affine_field(m, stack.shape[1:]) for m in matrices])


def dis(moving: Image, fixed: Image) -> Field:
    import cv2

    cv2.setNumThreads(1)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.moveaxis(flow.calc(bytes_of(fixed), bytes_of(moving), None), -1, 0)[::-1].copy()


def tvl1(moving: Image, fixed: Image) -> Field:
    return np.asarray(optical_flow_tvl1(unit(fixed), unit(moving), attachment=5, dtype=np.float32))


def ilk(moving: Image, fixed: Image) -> Field:
    return np.asarray(optical_flow_ilk(unit(fixed), unit(moving), radius=12, num_warp=10, dtype=np.float32))


def demons(moving: Image, fixed: Image) -> Field:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    images = [sitk.GetImageFromArray(unit(i).astype(np.float32)) for i in (fixed, moving)]
    demon = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demon.SetStandardDeviations(2.0)
    demon.SetSmoothDisplacementField(True)
    field = None
    for factor, turns in ((8, 60), (4, 60), (2, 60), (1, 60)):
        small = [_shrunk(i, factor) for i in images]
        demon.SetNumberOfIterations(turns)
        if field is None:
            field = demon.Execute(*small)
        else:
            start = sitk.Resample(field, small[0], sitk.Transform(), sitk.sitkLinear, 0.0, field.GetPixelID())
            field = demon.Execute(*small, start)
    return np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1].astype(np.float32)


def _shrunk(image: Any, factor: int) -> Any:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    if factor == 1:
        return image
    return sitk.BinShrink(image, [factor, factor])


def elastix(pairs: Pairs, threads: int) -> Answers:
    """Ask elastix about all pairs in one process.

    Raises:
        RuntimeError: the process died.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "pairs.npz", Path(folder) / "fields.npz"
        np.savez(asked, **{f"{w}{i}": p[k] for i, p in enumerate(pairs) for k, w in enumerate("mf")})
        command = [sys.executable, str(ELASTIX), str(asked), str(told), "--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"elastix ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        with np.load(told) as found:
            return Answers(
                [found[f"u{i}"] for i in range(len(pairs))], found["seconds"].tolist(), found["cpu"].tolist()
            )


PEERS = (
    Peer("none", "", nothing),
    Peer("pystackreg", "pystackreg", stackreg_pair, stack=stackreg_stack),
    Peer("OpenCV DIS", "cv2", dis),
    Peer("TV-L1", "", tvl1),
    Peer("ILK", "", ilk),
    Peer("Demons", "SimpleITK", demons, slow=True),
    Peer("elastix", "itk", batch=elastix, slow=True),
)
