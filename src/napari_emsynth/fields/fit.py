"""A field found on one sampling of the tissue, fitted to another: a binned copy's field serves the full size.

Law: a field is fitted only to a volume that shows the same tissue: as many sections, and rows and columns in one
proportion. A binned copy may have dropped or filled up the pixels that make no whole bin.
"""

from __future__ import annotations

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.volume import Volume

# Pixels by which a binned copy's edge may differ from the full edge divided by the bin.
BIN_PX = 1.0
# Voxel sizes are often written rounded: 1 part in 100.
SIZE_SHARE = 0.01


def fitted(field: Displacement, volume: Volume) -> Displacement:
    """Return the field that moves ``volume``: resized to its pixels, with its voxel size.

    Raises:
        InputError: another number of sections, another field of view, voxel sizes that contradict the pixels.
    """
    _check_view(field, volume)
    voxel_nm = volume.grid.voxel_nm
    if field.shape == volume.shape:
        if voxel_nm is not None and field.voxel_nm is not None:
            _check_sizes(field, volume)
        return field.of_voxels(voxel_nm or field.voxel_nm)
    resized = field.resized(volume.shape)
    if voxel_nm is not None and resized.voxel_nm is not None:
        _check_sizes(resized, volume)
    return resized.of_voxels(voxel_nm or resized.voxel_nm)


def _check_view(field: Displacement, volume: Volume) -> None:
    """Refuse a field that cannot be of the same tissue.

    Raises:
        InputError: another number of sections, or rows and columns in another proportion.
    """
    low = max(n / (own + BIN_PX) for n, own in zip(volume.shape[1:], field.shape[1:], strict=True))
    high = min(n / max(own - BIN_PX, 0.5) for n, own in zip(volume.shape[1:], field.shape[1:], strict=True))
    if field.shape[0] != volume.shape[0] or low > high:
        shapes = (" x ".join(str(n) for n in shape) for shape in (field.shape, volume.shape))
        raise InputError("a displacement field for {} voxels (z, y, x) does not fit a volume of {}".format(*shapes))


def _check_sizes(field: Displacement, volume: Volume) -> None:
    """Refuse voxel sizes that say it is other tissue; the field is resized already.

    Raises:
        InputError: they differ.
    """
    for axis, own, size in zip("zyx", field.voxel_nm or (), volume.grid.voxel_nm or (), strict=True):
        edge = BIN_PX / min(field.shape[1:])
        if abs(own - size) > (SIZE_SHARE + edge) * size:
            raise InputError(
                f"a displacement field for voxels of {own:g} nm along {axis} does not fit a volume of {size:g} nm"
            )
