"""Linear interpolation along z: the floor every upsampling network has to beat.

``mean(p) = (1 - t) section[b] + t section[b + 1],   b = floor(p),   t = p - b``   (1)

Beyond the first and the last section's centre (slab sampling) the outer section itself is the answer. Law: at a
section's own position the answer is that section. Slabs are back-projected afterwards, whatever the method, see
:mod:`napari_emsynth.methods.upsample.acquisition`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float


class Linear:
    """Equation (1)."""

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """Nothing but the two neighbours."""
        return (0, 0, 0)

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Mix the sections on both sides of every position."""
        out = np.empty((len(ask.sections), *block.shape[1:]), np.float32)
        last = len(block) - 1
        for k, position in enumerate(ask.positions):
            runtime.cancel.check()
            p = min(max(position, 0.0), float(last))
            b = min(int(p), max(last - 1, 0))
            t = np.float32(p - b)
            out[k] = (1 - t) * block[b] + t * block[min(b + 1, last)]  # (1)
        return [Expert("linear", out)]


SPEC = MethodSpec(
    task="upsample",
    id="linear",
    title="Linear",
    summary="Mixes the two neighbouring sections. Any factor, fast and safe; doubles what moves between them. "
    "Keeps every acquired section under point sampling.",
    build=unlearned(lambda _params: Linear()),
    samplings=("point", "slab"),
)
