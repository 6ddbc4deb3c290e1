"""Patches: what one step changed of a volume, apart from the volume, so that three sections of a terabyte can travel.

Conventions: a patch is a Zarr group NAME.patch.zarr. Its attribute ``emsynth_patch`` says of which volume it is and
which boxes changed; ``pieces/N`` holds, for box N, the voxels before (``old``) and after (``new``), and what is known
of those after (``synthetic``, ``uncertainty``, ``empty``). A box is [[z0, z1], [y0, y1], [x0, x1]] in voxels.

Laws: a volume with a patch put into it is, array by array, what writing the whole result would have made of it; taken
out again, it is bit for bit what it was before; a volume that is neither is refused before anything is written; a stop
at any instant leaves a volume that can be gone on with either way.
"""

from napari_emsynth.io.patch.apply import apply_patch, undo_patch
from napari_emsynth.io.patch.boxes import check_keeps
from napari_emsynth.io.patch.overlay import patched
from napari_emsynth.io.patch.patch import SUFFIX, Patch, is_patch, read_patch
from napari_emsynth.io.patch.write import check_patch_output, write_patch

__all__ = [
    "SUFFIX", "Patch", "apply_patch", "check_keeps", "check_patch_output", "is_patch", "patched", "read_patch",
    "undo_patch", "write_patch",
]  # fmt: skip
