"""The Fine alignment dock."""

from __future__ import annotations

from typing import Any, ClassVar

from napari_emsynth.plugin.align.field_panel import FieldPanel
from napari_emsynth.plugin.align.form import AlignForm
from napari_emsynth.plugin.align.linked_layers_panel import AlignedLayersPanel
from napari_emsynth.plugin.align.section_table import SectionTable
from napari_emsynth.plugin.align.selftest_panel import SelfTestPanel
from napari_emsynth.plugin.align.session import AlignTask
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.layers.checkerboard import HOWS
from napari_emsynth.plugin.layers.convert import show_section
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.volume_task.dock import VolumeDock
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.widgets.buttons import combo
from napari_emsynth.plugin.widgets.collapsible import Collapsible
from napari_emsynth.sections import spans

PLANES = {"section": "xy", "red / green": "red/green", "checkerboard": "squares"}
RESLICES = ("xz", "yz")


class FineAlignment(VolumeDock):
    """Refine the alignment of a roughly aligned stack: choose a method, look, run, take others along.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = AlignSettings.task
    task_class = AlignTask
    planes: ClassVar[tuple[str, ...]] = (*RESLICES, "xy", *HOWS)
    preview_sections = 5
    task: AlignTask
    form: AlignForm

    def __init__(self, napari_viewer: Any) -> None:
        # Whose sections the table lists.
        self._listed: VolumeOutcome | None = None
        install(napari_viewer)
        super().__init__(napari_viewer, AlignSettings(), lambda s: AlignForm(s, self.session), scores)
        self._follow_history()

    def large_planes(self) -> tuple[str, ...]:
        """Return the planes of the large view."""
        return (*RESLICES, self.plane.currentData())

    def go_to(self, section: int) -> None:
        """Show a section of the alignment in the table."""
        shown = self.task.newest() or self.layer()
        if shown is not None:
            show_section(self.session.viewer, shown, section)

    def leave(self) -> None:
        """Let go of the viewer."""
        self.session.viewer.layers.events.removed.disconnect(self._follow_history)
        self.linked.release()
        self.views.release()
        super().leave()

    # -- following ---------------------------------------------------------------------------------

    def _show_checked(self, outcome: VolumeOutcome | None) -> None:
        super()._show_checked(outcome)
        self._listed = outcome
        entries = [] if outcome is None else outcome.result.provenance["sections"]
        self.table.set_entries([entry for entry in entries if "cpc_before" in entry])
        listed = self.table.model.rowCount() > 0
        self.parts["sections"].setVisible(listed)
        if listed:
            self.parts["sections"].expand()

    def _follow_history(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """The table is that of the newest alignment in the viewer; an undone one has none."""
        if self.session.is_closed:
            return
        shown = self.task.newest_shown()
        wanted = shown.outcome if shown is not None and isinstance(shown.outcome, VolumeOutcome) else None
        # The same table again would lose its order, and open a fold that was closed.
        if not self.session.is_showing and wanted is not self._listed:
            self._show_checked(wanted)

    def _plane_chosen(self) -> None:
        self.reslices.set_rows((*RESLICES, self.plane.currentData()))

    def _take_reference(self) -> None:
        text = self.task.reference_here(self.layer())
        if text is not None:
            self.form.reference.setText(text)

    def _skip_suspects(self, suspects: list[Any]) -> None:
        self.form.skip.setText(spans(suspect.section for suspect in suspects))

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        super()._lay_out()
        self.plane = combo()
        for text, name in PLANES.items():
            self.plane.addItem(text, name)
        self.plane.setToolTip("The section on screen; or laid over the next, where yellow lies on each other")
        self.body.insertWidget(self.body.indexOf(self.reslices), self.plane)
        self.table = SectionTable()
        self.views = FieldPanel(self.session, self.task.views, self.layer)
        self.linked = AlignedLayersPanel(self.task, self.layer, self.channel_index)
        self.selftest = SelfTestPanel(self.task, self.layer, self.channel_index)
        self.parts = {
            "sections": Collapsible("Sections", self.table),
            "views": Collapsible("On the canvas", self.views),
            "linked": Collapsible("Other layers, files", self.linked),
            "selftest": Collapsible("Self-test", self.selftest),
        }
        for fold in self.parts.values():
            self.panels.addWidget(fold)
        self._plane_chosen()

    def _connect(self) -> None:
        super()._connect()
        self.plane.activated.connect(lambda _i: self._plane_chosen())
        self.table.section_chosen.connect(self.go_to)
        self.form.reference_asked.connect(self._take_reference)
        self.form.detection_asked.connect(
            lambda: self.task.detect(self.layer(), self.channel_index(), self._skip_suspects)
        )
        self.session.results_changed.connect(self._follow_history)
        self.session.viewer.layers.events.removed.connect(self._follow_history)

    def _show_preview(self, made: Any) -> None:
        super()._show_preview(made)
        self.plane.setVisible(made is not None)
        self._plane_chosen()


def scores(check: dict[str, Any]) -> str:
    """Return the self-check in words: a known distortion undone, and how neighbours agree."""
    agree = f"Correlation of neighbours {check['cpc_before']:.2f} before, {check['cpc_after']:.2f} after"
    head = f"Self-check on {check['n']} sections"
    if "epe_aligned" in check:
        return (
            f"{head}: distorted by known amounts, {check['epe_jittered']:.2f} px off; then aligned, "
            f"{check['epe_aligned']:.2f} px. {agree}"
        )
    gained = check["psnr_aligned"] - check["psnr_jittered"]
    return (
        f"{head}: shifted by known amounts of about 1 px, {check['psnr_jittered']:.1f} dB; then aligned, "
        f"{check['psnr_aligned']:.1f} dB ({gained:+.1f}). {agree}"
    )
