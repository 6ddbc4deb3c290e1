"""Between napari layers and volumes: what is read, and what a result layer keeps.

Conventions: the last three axes of a layer are z, y, x; a fourth, leading axis is a channel or a time, and
the caller says which. Laws: a layer's voxels are never copied here, lazy ones stay lazy; a result layer lies
exactly on its source; layers are told apart by ``unique_id``, never by identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import SMALLEST_VOXEL_NM, Triple
from napari_emsynth.volume import Array, Known, Volume

# Where layers keep what the plugin must not forget.
PROVENANCE_KEY = "emsynth"
KNOWN_KEY = "emsynth_known"
# What a layer shows of a result, beside its voxels: "synthetic" or "uncertainty".
COMPANION_KEY = "emsynth_part"


def is_image(layer: Any) -> bool:
    """True for image layers; labels are images of another kind to napari, not to us."""
    return type_of(layer) == "image"


def type_of(layer: Any) -> str:
    """Return "image", "labels", "shapes" ... of a layer or of napari's proxy of one."""
    return str(layer.__class__.__name__).lower()


def check_layer(layer: Any) -> None:
    """Refuse what cannot be restored.

    Raises:
        InputError: no layer, not an image, RGB, fewer than 3 or more than 4 axes.
    """
    if layer is None:
        raise InputError("no layer is chosen; needs a 3-D image layer (z, y, x)")
    if not is_image(layer):
        raise InputError(f"layer {layer.name!r} is a {type_of(layer)} layer; needs a 3-D image layer (z, y, x)")
    if layer.rgb:
        raise InputError(f"layer {layer.name!r} is RGB; needs one grey channel (Layers > Split RGB)")
    if layer.ndim not in (3, 4):
        raise InputError(f"layer {layer.name!r} has {layer.ndim} axes; needs 3: z, y, x (or 4 with a leading channel)")


def full_data(layer: Any) -> Any:
    """Return the array of a layer, at full resolution, as it is stored; of a layer's proxy the array itself."""
    return unwrap(layer.data[0] if layer.multiscale else layer.data)


def volume_of(layer: Any, channel: int | None = None) -> Volume:
    """Return a layer's voxels with their grid: size and position where they are lengths; nothing is read.

    Args:
        layer: an image layer with 3 axes, or 4 of which the first is a channel or a time.
        channel: index along the leading axis of a 4-D layer.

    Raises:
        InputError: see :func:`check_layer`; a 4-D layer without a channel, or one outside the layer.
    """
    check_layer(layer)
    data = full_data(layer)
    if layer.ndim == 4:
        count = data.shape[0]
        if channel is None:
            raise InputError(f"layer {layer.name!r} has 4 axes; choose a channel or time from 0 to {count - 1}")
        if not 0 <= channel < count:
            raise InputError(f"channel {channel} is outside 0 to {count - 1} of layer {layer.name!r}")
        data = leading(data, channel)
    volume = Volume.of(data, voxel_nm=voxel_nm_of(layer), origin_nm=origin_nm_of(layer), name=layer.name)
    part = {"chosen": layer.metadata["chosen"]} if "chosen" in layer.metadata else {}
    return replace(volume, known=known_of(layer, volume.shape), metadata=part)


def known_of(layer: Any, shape: Sequence[int]) -> Known | None:
    """Return what a layer says of earlier steps; marks of another shape than its data are of other data."""
    known: Known | None = layer.metadata.get(KNOWN_KEY)
    record = layer.metadata.get(PROVENANCE_KEY)
    if known is not None and all(tuple(marks.shape) == tuple(shape) for marks in known.marks.values()):
        return replace(known, record=record)
    return None if record is None else Known(record=record)


def told(volume: Volume) -> dict[str, Any]:
    """Return the metadata of a layer that shows a volume: its record, and what else is known of it."""
    return {} if volume.known is None else {PROVENANCE_KEY: volume.record, KNOWN_KEY: volume.known}


def leading(data: Any, index: int) -> Any:
    """Return ``data[index]`` without reading a stored array."""
    if isinstance(data, np.ndarray) or hasattr(data, "dask"):
        return data[index]
    import dask.array as da

    return da.from_array(data)[index]


def voxel_nm_of(layer: Any) -> Triple | None:
    """Return the voxel size (z, y, x) in nm, None when the layer's units are not lengths."""
    sizes = []
    for scale, unit in zip(layer.scale[-3:], layer.units[-3:], strict=True):
        if not unit.is_compatible_with("nanometer"):
            return None
        sizes.append(float(abs(scale) * (1 * unit).to("nanometer").magnitude))
    if min(sizes) < SMALLEST_VOXEL_NM:
        return None
    return (sizes[0], sizes[1], sizes[2])


def origin_nm_of(layer: Any) -> Triple:
    """Return where the centre of voxel (0, 0, 0) lies in the world, (z, y, x) in nm; 0 without a voxel size."""
    if voxel_nm_of(layer) is None:
        return (0.0, 0.0, 0.0)
    there = np.asarray(layer.data_to_world((0.0,) * layer.ndim), float)[-3:]
    z, y, x = (
        float(at * (1 * unit).to("nanometer").magnitude) for at, unit in zip(there, layer.units[-3:], strict=True)
    )
    return (z, y, x)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a layer lies and how it looks, so that another can be put exactly upon it.

    Args:
        space: keyword arguments of any layer: scale, translate, rotate, shear, affine, units, axis labels.
        look: keyword arguments of an image layer: colormap, contrast limits, gamma, blending, opacity,
            interpolation.
    """

    space: dict[str, Any]
    look: dict[str, Any]

    @classmethod
    def of(cls, layer: Any) -> Placement:
        """Take both from an image layer; of a 4-D layer, its last three axes."""
        limits = [float(v) for v in layer.contrast_limits]
        return cls(
            space={
                "scale": tuple(layer.scale[-3:]),
                "translate": tuple(layer.translate[-3:]),
                "rotate": np.array(layer.rotate)[-3:, -3:],
                "shear": _last_shear(np.array(layer.shear)),
                "affine": _last_affine(np.array(layer.affine.affine_matrix)),
                "units": tuple(layer.units[-3:]),
                "axis_labels": tuple(layer.axis_labels[-3:]),
            },
            look={
                "colormap": unwrap(layer.colormap),
                # Always given: napari would scan a lazy array for them.
                "contrast_limits": limits,
                "gamma": layer.gamma,
                "blending": str(layer.blending),
                "opacity": layer.opacity,
                "interpolation2d": str(layer.interpolation2d),
            },
        )


def unwrap(proxied: Any) -> Any:
    """Return the object behind napari's public-only proxy, or the object itself."""
    return getattr(proxied, "__wrapped__", proxied)


def _last_shear(shear: Array) -> Array:
    """Return the part of a shear (upper triangle as a vector, or a matrix) for the last three axes."""
    return shear[-3:, -3:] if shear.ndim == 2 else shear[-3:]


def _last_affine(matrix: Array) -> Array:
    """Return the 4 x 4 part [z, y, x, 1] of a homogeneous matrix."""
    return matrix[-4:, -4:]


def section_at(layer: Any, position: Sequence[float]) -> int | None:
    """Return the section under a point of the world, None when the point is outside the stack."""
    z = round(float(layer.world_to_data(tuple(position))[-3]))
    return z if 0 <= z < full_data(layer).shape[-3] else None


def current_section(viewer: Any, layer: Any) -> int:
    """Return the layer's section that the viewer's sliders are at, clipped to the stack."""
    z = round(float(layer.world_to_data(tuple(viewer.dims.point))[-3]))
    return int(np.clip(z, 0, full_data(layer).shape[-3] - 1))


def show_section(viewer: Any, layer: Any, section: int) -> None:
    """Move the viewer's slider to a section of a layer."""
    middle = [0.0] * (layer.ndim - 3) + [float(section), *(n / 2 for n in full_data(layer).shape[-2:])]
    # The axis of the world that carries z: layers are aligned to the last axes.
    axis = viewer.dims.ndim - 3
    viewer.dims.set_point(axis, float(layer.data_to_world(middle)[-3]))


def unique_name(viewer: Any, wanted: str) -> str:
    """Return ``wanted``, or ``wanted [n]`` with the first free n."""
    taken = {layer.name for layer in viewer.layers}
    name, n = wanted, 0
    while name in taken:
        n += 1
        name = f"{wanted} [{n}]"
    return name


def find_layer(viewer: Any, unique_id: Any) -> Any | None:
    """Return the viewer's layer with this id, None when it is gone."""
    return next((layer for layer in viewer.layers if layer.unique_id == unique_id), None)


def image_layers(viewer: Any) -> list[Any]:
    """Return the image layers, the topmost first; not those that only tell something of another."""
    return [layer for layer in reversed(list(viewer.layers)) if is_image(layer) and not is_companion(layer)]


def is_companion(layer: Any) -> bool:
    """True for a result's mask or uncertainty, which is nobody's source."""
    return COMPANION_KEY in layer.metadata


def mask_layers(viewer: Any) -> list[Any]:
    """Return the labels and shapes layers that can mark damage, the topmost first."""
    return [layer for layer in reversed(list(viewer.layers)) if type_of(layer) in ("labels", "shapes")]


def section_translate(layer: Any, section: int) -> Array:
    """Return the ``translate`` of a one-section layer that shows at ``section`` of a 3-D layer."""
    return voxel_translate(layer, (section, 0, 0))


def voxel_translate(layer: Any, voxel: Sequence[float]) -> Array:
    """Return the ``translate`` (z, y, x) of a part of a layer whose first voxel is that of the layer at ``voxel``.

    Args:
        layer: of 3 axes, or more of which the last 3 count.
        voxel: (z, y, x), need not be whole.
    """
    world = layer.data_to_world((*[0.0] * (layer.ndim - 3), *(float(v) for v in voxel)))
    # The affine acts after the translation.
    matrix = np.array(layer.affine.affine_matrix)
    return np.linalg.solve(matrix, np.append(np.asarray(world, float), 1.0))[:-1][-3:]
