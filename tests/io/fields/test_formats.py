"""Fields in the formats of others: every pair of formats gives the same field, and SimpleITK draws the same image."""

import pickle
import tracemalloc

import numpy as np
import pytest
import zarr

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields import Displacement, moved
from napari_emsynth.grid import Grid
from napari_emsynth.io.fields import FIELD_SUFFIXES, FORMATS, open_field, read_field, read_field_record, write_field
from napari_emsynth.spec import CancelToken, Result
from napari_emsynth.volume import Volume

nrrd, sitk = pytest.importorskip("nrrd"), pytest.importorskip("SimpleITK")

SHAPE, VOXEL, ORIGIN = (3, 40, 56), (30.0, 4.0, 5.0), (90.0, -8.0, 17.5)
PHYSICAL = [form.suffix for form in FORMATS if form.physical]


def smooth(shape=SHAPE, voxel_nm=VOXEL, nodes=(5, 7), largest=3.0, seed=0):
    data = np.random.default_rng(seed).uniform(-largest, largest, (shape[0], 2, *nodes)).astype(np.float32)
    return Displacement(data, shape, voxel_nm)


def dense(field):
    return np.stack([field.dense(z) for z in range(field.shape[0])])


# ------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("second", FIELD_SUFFIXES)
@pytest.mark.parametrize("first", FIELD_SUFFIXES)
def test_a_field_goes_from_any_format_to_any_other_and_back(tmp_path, first, second):
    field = smooth()
    write_field(field, tmp_path / f"a{first}", origin_nm=ORIGIN)
    a = open_field(tmp_path / f"a{first}", VOXEL)
    write_field(a.field, tmp_path / f"b{second}", origin_nm=a.origin_nm)
    b = open_field(tmp_path / f"b{second}", VOXEL)
    write_field(b.field, tmp_path / f"c{first}", origin_nm=b.origin_nm)
    c = open_field(tmp_path / f"c{first}")
    for found in (a, b, c):
        assert found.field.is_lazy
        assert found.field.shape == SHAPE
        np.testing.assert_allclose(dense(found.field), dense(field), rtol=0, atol=1e-5)
    if ".npy" not in (first, second):
        assert (c.field.voxel_nm, c.origin_nm) == (VOXEL, ORIGIN)


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_only_what_is_asked_for_is_read_and_a_field_travels_as_a_name(tmp_path, suffix):
    field = smooth((4, 700, 30))
    write_field(field, tmp_path / f"u{suffix}")
    back = pickle.loads(pickle.dumps(read_field(tmp_path / f"u{suffix}")))
    window = (slice(500, 530), slice(3, 20))
    np.testing.assert_allclose(back.dense(2, *window), field.dense(2, *window), rtol=0, atol=1e-5)
    np.testing.assert_allclose(back.dense(0), field.dense(0), rtol=0, atol=1e-5)
    image = Volume.of(np.random.default_rng(1).integers(0, 255, (4, 700, 30), np.uint8))
    np.testing.assert_allclose(moved(image, back, "cubic").data, moved(image, field, "cubic").data, atol=1)


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_memory_does_not_grow_with_the_field(tmp_path, suffix):
    field = Displacement.zero((12, 1024, 1024), 64, VOXEL)
    field.data[:] = 0.5
    first = write_field(smooth(), tmp_path / f"first{suffix}")  # what is imported then is not counted
    read_field(first)
    tracemalloc.start()
    write_field(field, tmp_path / f"u{suffix}")
    read_field(tmp_path / f"u{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the vectors take 100 to 150 MB, a strip of them 6 MB


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_a_file_is_there_whole_or_not_at_all(tmp_path, suffix):
    path, token = tmp_path / f"u{suffix}", CancelToken()
    write_field(smooth(), path)
    before = dense(read_field(path))
    with pytest.raises(InputError, match="exists"):
        write_field(smooth(), path)
    with pytest.raises(Cancelled):
        write_field(smooth(seed=1), path, overwrite=True, cancel=token, progress=lambda *_: token.cancel())
    assert np.array_equal(dense(read_field(path)), before)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_an_unknown_voxel_size_is_refused_where_vectors_are_lengths(tmp_path, suffix):
    path = tmp_path / f"u{suffix}"
    if suffix not in PHYSICAL:
        write_field(smooth(voxel_nm=None), path)
        return
    with pytest.raises(InputError, match="voxel size is unknown; give --voxel-size") as caught:
        write_field(smooth(voxel_nm=None), path)
    assert "\n" not in str(caught.value)
    assert not path.exists()
    write_field(smooth(voxel_nm=None), path, voxel_nm=VOXEL)
    assert read_field(path).voxel_nm == VOXEL


def test_an_alignment_brings_its_origin_and_voxel_size(tmp_path):
    volume = Volume(data=np.zeros(SHAPE, np.uint8), grid=Grid(shape=SHAPE, voxel_nm=VOXEL, origin_nm=ORIGIN))
    result = Result(volume=volume, synthetic=volume, provenance={"method": "x"}, displacement=smooth(voxel_nm=None))
    for suffix in PHYSICAL:
        write_field(result, tmp_path / f"u{suffix}")
        found = open_field(tmp_path / f"u{suffix}")
        assert (found.field.voxel_nm, found.origin_nm) == (VOXEL, ORIGIN)
    assert read_field_record(tmp_path / "u.ome.zarr") == {"method": "x"}


# ------------------------------------------------------------------------------------------ SimpleITK


def by_itk(image, path):
    """Draw an image through a field as SimpleITK does."""
    moving = sitk.GetImageFromArray(image)
    moving.SetSpacing(VOXEL[::-1])
    moving.SetOrigin(ORIGIN[::-1])
    field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    assert field.GetSpacing() == VOXEL[::-1]
    assert field.GetOrigin() == ORIGIN[::-1]
    drawn = sitk.Resample(moving, moving, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1e6)
    return sitk.GetArrayFromImage(drawn)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axis", [1, 2])
def test_simpleitk_moves_a_ramp_to_the_same_places(tmp_path, suffix, axis):
    field = smooth()
    write_field(field, tmp_path / f"u{suffix}", origin_nm=ORIGIN)
    ramp = np.broadcast_to(np.moveaxis(np.arange(SHAPE[axis], dtype=np.float32)[:, None, None], 0, axis), SHAPE).copy()
    ours = moved(Volume.of(ramp), field, "linear").data
    theirs = by_itk(ramp, tmp_path / f"u{suffix}")
    inside = (slice(None), slice(5, -5), slice(5, -5))
    # A ramp's values are places in px.
    np.testing.assert_allclose(theirs[inside], np.asarray(ours)[inside], rtol=0, atol=1e-3)
    assert np.abs(theirs - ramp)[inside].max() > 1


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_simpleitk_draws_the_same_image(tmp_path, suffix):
    field = smooth(seed=2)
    write_field(field, tmp_path / f"u{suffix}", origin_nm=ORIGIN)
    z, y, x = np.indices(SHAPE)
    image = (100 + 40 * np.sin(y / 5 + z) * np.cos(x / 7)).astype(np.float32)
    ours = np.asarray(moved(Volume.of(image), field, "linear").data)
    theirs = by_itk(image, tmp_path / f"u{suffix}")
    inside = (slice(None), slice(5, -5), slice(5, -5))
    # Slopes are 40 / 5 a px at most, places agree to 1e-3 px.
    np.testing.assert_allclose(theirs[inside], ours[inside], rtol=0, atol=8e-3)
    assert np.abs(theirs - image)[inside].max() > 5


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [sitk.sitkVectorFloat32, sitk.sitkVectorFloat64])
def test_fields_that_simpleitk_writes_are_read(tmp_path, suffix, packed, kind):
    field = smooth()
    vectors = np.zeros((*SHAPE, 3))
    vectors[..., 0], vectors[..., 1] = dense(field)[:, 1] * VOXEL[2], dense(field)[:, 0] * VOXEL[1]
    image = sitk.Cast(sitk.GetImageFromArray(vectors, isVector=True), kind)
    image.SetSpacing(VOXEL[::-1])
    image.SetOrigin(ORIGIN[::-1])
    path = tmp_path / f"u{suffix}"
    sitk.WriteImage(image, str(path), packed)
    found = open_field(path)
    np.testing.assert_allclose(dense(found.field), dense(field), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.field.voxel_nm, VOXEL, rtol=1e-9)
    np.testing.assert_allclose(found.origin_nm, ORIGIN, rtol=1e-9)
    back = [found.field.dense(z, slice(7, 11), slice(2, 9)) for z in (2, 0, 1)]  # backwards too
    np.testing.assert_allclose(back, [field.dense(z, slice(7, 11), slice(2, 9)) for z in (2, 0, 1)], atol=1e-5)


def test_pynrrd_reads_what_is_written(tmp_path):
    write_field(smooth(), tmp_path / "u.nrrd", origin_nm=ORIGIN)
    data, head = nrrd.read(str(tmp_path / "u.nrrd"), index_order="C")
    np.testing.assert_allclose(data[..., 0] / VOXEL[2], dense(smooth())[:, 1], atol=1e-5)
    assert head["space units"] == ["nm"] * 3
    assert list(head["kinds"]) == ["vector", "domain", "domain", "domain"]


def itk_image(tmp_path, suffix, dz=0.0, direction=None, components=3, value=0.0):
    vectors = np.full((*SHAPE, components), value)
    vectors[1, 3, 4, -1] += dz
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(VOXEL[::-1])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(tmp_path / f"u{suffix}"))
    return tmp_path / f"u{suffix}"


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"dz": 40.0}, "leave section 1 by up to 1.33 sections"),
        ({"dz": np.nan}, "leave section 1"),
        ({"value": np.inf}, "leave section 0"),
        ({"direction": (0, 1, 0, 1, 0, 0, 0, 0, -1)}, "direction matrix"),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, "direction matrix"),
        ({"components": 2}, "x, y, z"),
    ],
)
def test_itk_images_that_are_no_field_of_sections_are_refused_in_one_line(tmp_path, suffix, kwargs, said):
    path = itk_image(tmp_path, suffix, **kwargs)
    with pytest.raises(InputError, match=said) as caught:
        read_field(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "old", "new", "said"),
    [
        (".nrrd", "encoding: raw", "encoding: hex", "needs raw or gzip"),
        (".nrrd", "left-posterior-superior", "right-anterior-superior", "needs left-posterior-superior"),
        (".nrrd", "endian: little", "endian: little\ndata file: other.raw", "in this file"),
        (".nrrd", "sizes: 3 56", "sizes: 2 84", "vectors x, y, z"),
        (".nrrd", "sizes: 3 56", "sizes: 3 57", "cut short"),
        (".nrrd", "type: float", "type: block", "block"),
        (".mha", "LOCAL", "other.raw", "in this file"),
        (".mha", "NDims = 3", "NDims = 2", "needs 3"),
        (".mha", "DimSize = 56", "DimSize = 57", "cut short"),
        (".mha", "ElementSpacing = 5.0", "ElementSpacing = 0.0", "not above 0"),
        (".mha", "ElementType = MET_FLOAT", "ElementType = MET_STRING", "type MET_STRING, needs MET_FLOAT"),
    ],
)
def test_headers_that_say_something_else_are_refused_in_one_line(tmp_path, suffix, old, new, said):
    path = tmp_path / f"u{suffix}"
    write_field(smooth(), path)
    data = path.read_bytes()
    assert old.encode() in data
    path.write_bytes(data.replace(old.encode(), new.encode()))
    with pytest.raises(InputError, match=said) as caught:
        read_field(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "old", "new", "voxel"),
    [
        (".nrrd", 'space units: "nm" "nm" "nm"', 'space units: "um" "um" "um"', (30e3, 4e3, 5e3)),
        (".nrrd", 'space units: "nm" "nm" "nm"\n', "", VOXEL),
        (".nrrd", 'space units: "nm" "nm" "nm"', 'space units: "mm" "mm" "mm"', None),
        (".mha", "NDims = 3", "NDims = 3\nDistanceUnits = um", (30e3, 4e3, 5e3)),
        (".mha", "Offset", "Position", VOXEL),
    ],
)
def test_units_are_obeyed_and_the_vectors_count_in_voxels(tmp_path, suffix, old, new, voxel):
    path = tmp_path / f"u{suffix}"
    write_field(smooth(), path)
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    back = read_field(path)
    assert back.voxel_nm == (voxel if voxel is None else pytest.approx(voxel))
    np.testing.assert_allclose(dense(back), dense(smooth()), rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------------------ OME-Zarr


def test_an_ome_zarr_says_what_the_specification_asks_for(tmp_path):
    write_field(smooth(), tmp_path / "u.ome.zarr", origin_nm=ORIGIN)
    root = zarr.open_group(str(tmp_path / "u.ome.zarr"), mode="r")
    ome = root.attrs["ome"]
    (said,) = ome["scene"]["coordinateTransformations"]
    assert (said["type"], said["interpolation"]) == ("displacements", "linear")
    assert (said["input"], said["output"]) == ({"name": "aligned"}, {"name": "acquired"})
    systems = {system["name"]: system["axes"] for system in ome["scene"]["coordinateSystems"]}
    assert systems["aligned"] == systems["acquired"]
    held = root[said["path"]]
    assert held.attrs["ome"]["version"] == ome["version"] == "0.6"
    (image,) = held.attrs["ome"]["multiscales"]
    (system,) = image["coordinateSystems"]
    assert [axis for axis in system["axes"] if axis["type"] != "displacement"] == systems["aligned"]
    array = held[image["datasets"][0]["path"]]
    assert array.metadata.zarr_format == 3
    assert array.shape == (3, *SHAPE)
    (placed,) = image["datasets"][0]["coordinateTransformations"]
    steps = {step["type"]: step[step["type"]] for step in placed["transformations"]}
    assert steps == {"scale": [1.0, *VOXEL], "translation": [0.0, *ORIGIN]}
    assert not array[0].any()
    np.testing.assert_allclose(array[1] / VOXEL[1], dense(smooth())[:, 0], atol=1e-5)


def foreign(path, axes="zyxc", components="zyx", declare="image", unit="micrometer", out=None, array="s0", **more):
    """Write a field as another tool could: axes and components in any order, in micrometres."""
    field = dense(smooth())
    size = dict(zip("zyx", VOXEL, strict=True))
    per = 1000 if unit == "micrometer" else 1
    parts = {"z": 0 * field[:, 0], "y": field[:, 0] * size["y"] / per, "x": field[:, 1] * size["x"] / per}
    vectors = np.stack([parts[c] for c in components])  # c, z, y, x
    if "z" not in axes:
        vectors = vectors[:, 1]
    stored = "c" + ("zyx" if "z" in axes else "yx")
    data = vectors.transpose([stored.index(a) for a in axes])
    spatial = [{"name": a, "type": "space", "unit": unit} for a in axes if a != "c"]
    all_axes = [
        {"name": a, "type": "displacement"} if a == "c" else {"name": a, "type": "space", "unit": unit} for a in axes
    ]
    scale = [1.0 if a == "c" else size[a] / per for a in axes]
    image = {
        "coordinateSystems": [{"name": "phys", "axes": all_axes}],
        "datasets": [
            {
                "path": array,
                "coordinateTransformations": [
                    {"type": "scale", "input": {"path": array}, "output": {"name": "phys"}, "scale": scale}
                ],
            }
        ],
    }
    image |= more
    ends = [{"name": a, "type": "space", "unit": unit} for a in out or components]
    said = {"type": "displacements", "input": {"name": "in"}, "output": {"name": "out"}, "path": "d"}
    systems = [{"name": "in", "axes": spatial}, {"name": "out", "axes": ends}]
    root = zarr.create_group(str(path), zarr_format=3)
    if declare == "scene":
        scene = {"coordinateSystems": systems, "coordinateTransformations": [said]}
        root.attrs["ome"] = {"version": "0.6", "scene": scene}
        holder = root.create_group("d")
        holder.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    else:
        holder = root
        if declare == "image":
            image["coordinateSystems"] += systems
            image["coordinateTransformations"] = [said | {"path": array}]
        root.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    holder.create_array(array, data=data.astype(np.float32))
    return path


@pytest.mark.parametrize("declare", ["scene", "image", "axis"])
@pytest.mark.parametrize("axes", ["czyx", "zyxc", "xyzc", "ycxz"])
def test_displacements_of_others_are_read_whatever_the_order_of_their_axes(tmp_path, declare, axes):
    # Without a transformation the components go along the field's own axes.
    components = axes.replace("c", "") if declare == "axis" else "zyx"
    back = read_field(foreign(tmp_path / "u.ome.zarr", axes, components, declare))
    assert back.voxel_nm == pytest.approx(VOXEL)
    np.testing.assert_allclose(dense(back), dense(smooth()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("declare", ["scene", "image"])
def test_an_array_may_lie_deep_in_its_image(tmp_path, declare):
    back = read_field(foreign(tmp_path / "u.ome.zarr", declare=declare, array="scale0/field"))
    np.testing.assert_allclose(dense(back), dense(smooth()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("components", ["xyz", "xzy", "yx", "xy"])
def test_components_go_along_the_axes_of_the_output(tmp_path, components):
    back = read_field(foreign(tmp_path / "u.ome.zarr", "zyxc", components, "scene"))
    np.testing.assert_allclose(dense(back), dense(smooth()), rtol=0, atol=1e-5)


def test_a_field_of_one_section_is_read(tmp_path):
    back = read_field(foreign(tmp_path / "u.ome.zarr", "yxc", "yx", "scene"))
    assert (back.shape, back.voxel_nm) == ((1, *SHAPE[1:]), None)
    np.testing.assert_allclose(back.dense(0), smooth().dense(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"axes": "zyxc", "out": "zab"}, "components along"),
        ({"coordinateSystems": []}, "has axes"),
        ({"datasets": []}, "no array"),
        ({"declare": "none", "coordinateTransformations": [{"type": "affine"}]}, "affine"),
    ],
)
def test_displacements_that_cannot_be_made_out_are_refused_in_one_line(tmp_path, kwargs, said):
    path = foreign(tmp_path / "u.ome.zarr", **{"declare": "scene"} | kwargs)
    with pytest.raises(InputError, match=said) as caught:
        read_field(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


# ------------------------------------------------------------------------------------------ SOFIMA


def as_sofima_warps(path):
    """Return the absolute places (y, x) [z, 2, y, x] that SOFIMA's rule gives: linear between and beyond nodes."""
    from scipy.interpolate import RegularGridInterpolator

    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    stride, start = held["stride"][1:], held["box"][0][1::-1]
    z, y, x = held["shape"]
    out_y, out_x = np.mgrid[:y, :x]
    places = np.empty((z, 2, y, x))
    for section in range(z):
        nodes = [(np.arange(n) + s) * step for n, s, step in zip(held["map"].shape[2:], start, stride, strict=True)]
        for own, (c, axis) in enumerate([(1, 0), (0, 1)]):
            absolute = held["map"][c, section] + (nodes[0][:, None] if axis == 0 else nodes[1])
            dense = RegularGridInterpolator(nodes, absolute, bounds_error=False, fill_value=None)
            places[section, own] = dense((out_y, out_x))
    return places


def sofima(path, stride=(1.0, 7.0, 5.0), start=(2, 1, 0), shape=SHAPE, save=np.savez, **more):
    nodes = np.random.default_rng(3).uniform(-3, 3, (2, 3, 4, 6)).astype(np.float32)
    given = {"map": nodes, "stride": np.array(stride), "box": np.array([start, (6, 4, 3)])}
    given |= {} if shape is None else {"shape": np.array(shape)}
    save(path, **{name: value for name, value in (given | more).items() if value is not None})
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_coarse_map_goes_where_sofima_takes_it(tmp_path, save):
    path = sofima(tmp_path / "u.sofima.npz", save=save)
    grid = np.stack(np.indices(SHAPE[1:]))
    field = read_field(path)
    np.testing.assert_allclose(dense(field) + grid, as_sofima_warps(path), rtol=0, atol=1e-4)
    window = (slice(3, 9), slice(20, 50))
    np.testing.assert_allclose(field.dense(0, *window), field.dense(0)[:, 3:9, 20:50], rtol=0, atol=1e-5)


def test_what_is_written_for_sofima_goes_where_it_does_here(tmp_path):
    write_field(smooth(), tmp_path / "u.sofima.npz")
    want = dense(smooth()) + np.stack(np.indices(SHAPE[1:]))
    np.testing.assert_allclose(as_sofima_warps(tmp_path / "u.sofima.npz"), want, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"shape": None}, "shape is missing"),
        ({"shape": (4, 40, 56)}, "3 sections for a volume of 4"),
        ({"stride": (2.0, 7.0, 5.0)}, "1 along z"),
        ({"stride": (1.0, 0.5, 5.0)}, "1 px or more"),
        ({"box": np.array([[0, 0, 0], [9, 4, 3]])}, "size of the map"),
        ({"box": np.array(["a"])}, "box is"),
        ({"map": np.zeros((3, 3, 4, 6))}, "needs 2"),
        ({"map": None}, "map.npy"),
        ({"map": np.full((2, 3, 4, 6), np.nan, np.float32)}, "not numbers, in section 0"),
    ],
)
def test_maps_that_cannot_be_used_are_refused_in_one_line(tmp_path, kwargs, said):
    path = sofima(tmp_path / "u.sofima.npz", **kwargs)
    with pytest.raises(InputError, match=said) as caught:
        read_field(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
