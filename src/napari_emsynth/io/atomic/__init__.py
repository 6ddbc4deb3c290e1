"""Files that exist whole or not at all: the disk, who holds a target, what of it is finished, and the work folder.

Nothing in here knows a format.
"""

from napari_emsynth.io.atomic.disk import check_name, check_room, put, real, remove, sync_files, sync_tree
from napari_emsynth.io.atomic.journal import Journal, digest
from napari_emsynth.io.atomic.undisturbed import undisturbed
from napari_emsynth.io.atomic.work import UNCLAIMED, Claims, Part, Work, claiming, work_folder, working

__all__ = [
    "UNCLAIMED", "Claims", "Journal", "Part", "Work", "check_name", "check_room", "claiming", "digest", "put", "real",
    "remove", "sync_files", "sync_tree", "undisturbed", "work_folder", "working",
]  # fmt: skip
