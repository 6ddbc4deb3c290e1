"""What can be seen of a super-resolved volume's fidelity: where the method was off the data, and where a prior spoke.

The residual lies on the acquired pixels: blue where the method drew them too dark, red where too bright, before it was
moved to where they are right. Of a result that is not in memory the section on screen is drawn anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap

from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import (
    COMPANION_KEY,
    Placement,
    current_section,
    find_layer,
    section_translate,
)
from napari_emsynth.plugin.layers.overlay import Views, on_nodes
from napari_emsynth.plugin.viewer.session import ready
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

RESIDUAL, PRIOR = "residual", "prior"
TITLES = {RESIDUAL: "off the data", PRIOR: "prior"}
# Too dark, right, too bright; nothing where it was right.
OFF = ((0.1, 0.35, 1.0, 1.0), (0.5, 0.5, 0.5, 0.0), (1.0, 0.2, 0.1, 1.0))
MAGENTA = ((0.0, 0.0, 0.0, 0.0), (1.0, 0.1, 0.9, 1.0))
OFF_OPACITY, PRIOR_OPACITY = 0.6, 0.35
# All but the outermost values are told apart by colour.
PERCENTILE = 99.0


class FidelityViews(Views):
    """The views of one viewer: "residual" and "prior"."""

    def show(self, name: str, shown: Any) -> QueuedJob | None:
        """Lay a view over a result; None with a line to the user where there is nothing to show.

        Args:
            name: of the view.
            shown: the result in the viewer; None without one.
        """
        part = None if shown is None else getattr(shown.result, name)
        if part is None:
            notify.warn(
                "nothing to show yet: no super-resolved volume is in the viewer"
                if shown is None
                else f"{shown.result.provenance['method']} has no learned prior"
            )
            return None
        home: Any = find_layer(self._session.viewer, shown.layer_id)
        section = current_section(self._session.viewer, home) if part.is_lazy else None
        space = Placement.of(home).space
        if section is not None:
            space = {**space, "translate": tuple(section_translate(home, section))}
        fine = tuple(int(n) for n in home.data.shape)

        def work(job: QueuedJob) -> Any:
            ready(job)
            data = part.data if section is None else drawn(part, section, job.runtime())
            return fidelity_layer(name, data, (len(data), *fine[1:]), space)

        def done(made: Any) -> None:
            where = "" if section is None else f" (section {section})"
            self._add(name, made, home, f"{TITLES[name]}{where}")

        return self._submit(f"Draw the {name}", work, done, name)


def drawn(part: Volume, section: int, runtime: Runtime) -> Array:
    """Return one section [1, y, x] of a lazy volume."""
    runtime.cancel.check()
    return np.asarray(part.section(section))[None]


def fidelity_layer(name: str, data: Array, shape: tuple[int, ...], space: dict[str, Any]) -> Any:
    """Return a view as an image layer that covers the result.

    Args:
        name: "residual" or "prior".
        data: [z, y', x'].
        shape: [z, y, x] of the sections of the result that it covers.
        space: keyword arguments that put a layer of that shape on the result.
    """
    reach = max(float(np.percentile(np.abs(data), PERCENTILE)), 1e-6)
    colours: Any = MAGENTA if name == PRIOR else OFF
    limits, opacity = ((0.0, 1.0), PRIOR_OPACITY) if name == PRIOR else ((-reach, reach), OFF_OPACITY)
    z, y, x = shape
    return Image(
        data,
        colormap=Colormap(colours, name=TITLES[name]),
        contrast_limits=limits,
        interpolation2d="nearest",
        blending="translucent_no_depth",
        opacity=opacity,
        metadata={COMPANION_KEY: name},
        **on_nodes(space, (z, y, x), tuple(data.shape[1:])),
    )
