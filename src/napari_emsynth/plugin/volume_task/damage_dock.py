"""What docks share of tasks that ask which sections are damaged: lists, forecasts, and what a record says."""

from __future__ import annotations

from typing import Any

from napari_emsynth.plugin.volume_task.damage import DamageTask
from napari_emsynth.plugin.volume_task.damage_form import DamageForm
from napari_emsynth.plugin.volume_task.dock import VolumeDock
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.widgets.notices import remark


class DamageDock(VolumeDock):
    """Choose, look, know what a run will take, run."""

    asks_where = offers_auto_preview = True
    task: DamageTask
    form: DamageForm

    def _report(self, record: dict[str, Any]) -> list[str]:
        """Return what else a record says, a line each."""
        return consistency(record)

    # -- following ---------------------------------------------------------------------------------

    def _layer_changed(self) -> None:
        # Of each layer, what was said of it.
        self.task.set_settings(self.task.known_of(self.layer()))
        self.form.set_value(self.task.settings)
        self._show_suspects()
        super()._layer_changed()
        self._settings_changed()

    def _settings_changed(self) -> None:
        super()._settings_changed()
        self.task.remember_damaged(self.layer(), self.task.settings.damaged)
        self._show_forecast()

    def _settings_from_task(self) -> None:
        super()._settings_from_task()
        self._show_forecast()

    def _results_changed(self) -> None:
        self._show_forecast()

    def _show_suspects(self) -> None:
        self.form.suspects.show_suspects(self.task.suspects(self.layer()), ())
        self.form.suspects.follow(self.task.known_of(self.layer()).damaged)

    def _suspected(self) -> None:
        """List what was found; the ticked ones count."""
        self._show_suspects()
        self.form.damaged.setText(self.task.known_of(self.layer()).damaged)

    def _show_forecast(self) -> None:
        forecast = self.task.forecast(self.layer(), self.channel_index())
        self.form.forecast.setText("" if forecast is None else forecast.describe())

    def _show_preview(self, made: Any) -> None:
        super()._show_preview(made)
        # A preview tells how long a run will take.
        self._show_forecast()

    def _show_checked(self, outcome: VolumeOutcome | None) -> None:
        super()._show_checked(outcome)
        lines = [] if outcome is None else self._report(outcome.result.provenance)
        self.report.setText("\n".join(lines))
        self.report.setVisible(bool(lines))

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        super()._lay_out()
        self.report = remark()
        self.body.insertWidget(self.body.indexOf(self.notices), self.report)

    def _connect(self) -> None:
        super()._connect()
        self.form.detection_asked.connect(lambda: self.task.find_damaged(self.layer(), self.channel_index()))
        self.task.suspected.connect(self._suspected)
        self.session.results_changed.connect(self._results_changed)


def consistency(record: dict[str, Any]) -> list[str]:
    """Return in a line how the means of what was made up hold, where a record says it."""
    residual = record.get("residual")
    if residual is None:
        return []
    line = (
        f"Block means lie {residual['before']:.2f} grey levels off what was acquired (rms) as the method made "
        f"them up; after back-projection {residual['after']:.2g} at most"
    )
    return [line]
