"""Look for damaged sections in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.volume import Volume

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Survey, Suspect


def detection(
    volume: Volume, then: Callable[[list[Suspect]], None], refuse: Callable[[str], None], owner: str = ""
) -> QueuedJob:
    """Return the job; ``then`` is given what was found, and the user a line.

    Args:
        volume: a layer's.
        then: called in the window's thread.
        refuse: told why it failed.
        owner: the dock it ends with.
    """

    def work(job: QueuedJob) -> Survey:
        from napari_emsynth.trust.detect import survey

        return survey(volume, progress=job.report, cancel=job.cancel)

    def done(found: Survey) -> None:
        then(found.suspects)
        count = len(found.suspects)
        said = f"{count} suspected section(s) in {volume.name!r}" if count else "no damaged section found"
        for line in (said, *found.notices):
            notify.info(line)

    return QueuedJob("Detect damaged sections", work, on_done=done, on_failed=refuse, owner=owner)
