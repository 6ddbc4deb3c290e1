"""The form of a repair's settings."""

from __future__ import annotations

from dataclasses import replace

from napari_emsynth.plugin.restore.request import Settings
from napari_emsynth.plugin.widgets.look import LookChoice
from napari_emsynth.plugin.widgets.method_form import MethodForm, Switch

SELFCHECK = Switch("selfcheck", "Self-check on intact neighbours")
IN_PLACE = Switch("place", "In place (undoable), no new layer", on="in place", off="new layer")
LAZY = Switch("lazy", "Lazy: compute what is shown")
WITH_MASK = Switch("with_mask", "Add the synthetic mask")
WITH_UNCERTAINTY = Switch("with_uncertainty", "Add the uncertainty")


class SettingsForm(MethodForm):
    """A form that speaks one value, :class:`Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.look = LookChoice("with fine detail of a neighbour that the record names (the seed chooses it)")
        super().__init__(settings, "interpolate", (SELFCHECK, IN_PLACE, LAZY, WITH_MASK, WITH_UNCERTAINTY))
        self.in_place = self.switches[IN_PLACE]
        box = self.layout()
        box.insertWidget(box.indexOf(self.more), self.look)
        self.look.chosen.connect(self._changed)

    def value(self) -> Settings:
        """Return what the form says."""
        return replace(super().value(), look=self.look.value())

    def set_value(self, settings: Settings) -> None:
        """Show other settings; nothing is emitted."""
        super().set_value(settings)
        self.look.set_value(settings.look)
