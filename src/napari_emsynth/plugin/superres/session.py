"""What the plugin knows of super-resolution in one viewer: beside a task's, what is laid over the newest result."""

from __future__ import annotations

from typing import Any

from napari_emsynth.plugin.layers.results import Shown
from napari_emsynth.plugin.superres.settings import SuperresSettings
from napari_emsynth.plugin.superres.views import FidelityViews
from napari_emsynth.plugin.volume_task.damage import DamageTask


class SuperresTask(DamageTask):
    """Super-resolution in one viewer."""

    # Those that would mislead, as the engine has it, which is not loaded yet.
    counted = ("missing", "blank", "saturated", "half-missing", "displaced")
    settings: SuperresSettings

    def __init__(self, session: Any, start: SuperresSettings) -> None:
        super().__init__(session, start)
        self.views = FidelityViews(session)
        session.results_changed.connect(self._results_changed)

    def judged(self, layer: Any) -> Shown | None:
        """Return the newest result that a layer is the source of, or shows; else the newest of all."""
        of = [shown for shown in self.all_newest() if layer is not None and layer.unique_id in ids(shown)]
        return of[0] if of else self.newest_shown()

    def _results_changed(self) -> None:
        if not self.session.is_closed:
            self.views.drop_orphans()


def ids(shown: Shown) -> tuple[Any, Any]:
    """Return the unique ids of a result's layer and of its source."""
    return shown.layer_id, shown.source_id
