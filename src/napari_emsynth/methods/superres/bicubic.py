"""Bicubic enlargement: the floor that every super-resolution network has to beat.

``y = B x_0``   (1)

with ``x_0`` the section itself and ``B`` cubic convolution (Keys 1981) on pixels whose edges are kept. It invents
nothing: detail finer than the acquired pixels stays away. The task then moves the answer to where block means equal
what was acquired, as it does for every method.
"""

from __future__ import annotations

from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.superres.limits import FACTORS
from napari_emsynth.methods.superres.protocol import Finer
from napari_emsynth.methods.superres.reduction import REACH, enlarged
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float


class Bicubic:
    """Equation (1)."""

    factor: int | None = None
    context, spacing = 0, 1
    halo, multiple = REACH, 1
    confidence = None

    def __call__(self, block: Float, factor: int, runtime: Runtime) -> Finer:
        """Enlarge the middle section of a block."""
        runtime.cancel.check()
        return Finer(enlarged(block[len(block) // 2], factor))  # (1)


SPEC = MethodSpec(
    task="superres",
    id="bicubic",
    title="Bicubic",
    summary="Smooth enlargement of each section by itself, consistent with what was acquired. Fast; invents nothing.",
    build=unlearned(lambda _params: Bicubic()),
    keeps_acquired=False,
    factors=FACTORS,
)
