"""Labels that follow an upsampled volume: tick layers, upsample them, write them."""

from __future__ import annotations

from pathlib import Path

from napari_emsynth.plugin.upsample.linked_layers import export_linked, labels_layers, upsample_linked
from napari_emsynth.plugin.upsample.session import UpsampleTask
from napari_emsynth.plugin.volume_task.linked_layers import LinkedLayersPanel
from napari_emsynth.plugin.widgets.buttons import button
from napari_emsynth.plugin.widgets.notices import remark


class LabelsPanel(LinkedLayersPanel):
    """Speaks the unique ids of the ticked layers.

    Args:
        task: the viewer's upsampling.
    """

    def __init__(self, task: UpsampleTask) -> None:
        take = button("Upsample ticked", "Upsample the ticked labels as the newest result was, into new layers")
        write = button("Export...", "Write the ticked labels, upsampled, into one folder")
        super().__init__(task, labels_layers, take, write)
        self.list.setToolTip("Labels on the stack as it was acquired")
        self.line = remark()
        self.line.setText("Shapes run on between sections; ids stay. Points and shapes lie right as they are.")
        self.box.insertWidget(1, self.line)

    def apply_to_ticked(self) -> None:
        """Upsample the ticked labels."""
        upsample_linked(self._task, self.ticked())

    def export_to(self, folder: Path) -> None:
        """Write the ticked labels, upsampled, into a folder."""
        export_linked(
            self._task, self.ticked(), folder, self.format.currentText(), overwrite=self.overwrite.isChecked()
        )
