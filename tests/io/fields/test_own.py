"""Displacement fields on disk: what is written is read back, and what does not fit is refused in one line."""

import pickle
import tracemalloc

import numpy as np
import pytest
import zarr

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields import Displacement, fitted, moved
from napari_emsynth.io.fields import check_field_output, read_field, read_field_record, write_field
from napari_emsynth.spec import CancelToken, Result
from napari_emsynth.volume import Volume

SHAPE, VOXEL = (3, 40, 56), (30.0, 4.0, 4.0)
NAMES = ("u.npy", "u.zarr")


def drawn(shape=SHAPE, nodes=(5, 7), voxel_nm=VOXEL, **more):
    data = np.random.default_rng(0).normal(0, 2, (shape[0], 2, *nodes)).astype(np.float32)
    return Displacement(data, shape, voxel_nm, **more)


def dense(field):
    return np.stack([field.dense(z) for z in range(field.shape[0])])


def saved(path, data):
    if path.suffix == ".npy":
        np.save(path, data)
    else:
        zarr.create_array(str(path), data=data)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_float32_z_2_y_x_and_is_read_back_to_the_bit(tmp_path, name):
    field, path = drawn(), tmp_path / name
    assert write_field(field, path) == path
    plain = np.load(path) if name == "u.npy" else zarr.open(str(path), mode="r")[:]
    assert plain.dtype == np.float32
    assert plain.shape == (3, 2, 40, 56)
    assert np.array_equal(plain, dense(field))
    back = read_field(path)
    assert back.is_lazy
    assert back.shape == SHAPE
    assert np.array_equal(dense(back), dense(field))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_zarr_says_whom_it_serves_and_in_which_direction(tmp_path):
    write_field(drawn(limit_nm=30.0), tmp_path / "u.zarr", provenance={"method": "x", "score": float("nan")})
    array = zarr.open(str(tmp_path / "u.zarr"), mode="r")
    said = array.attrs["displacement"]
    assert said["direction"] == "pull"
    assert said["shape"] == [3, 40, 56]
    assert said["voxel_nm"] == [30.0, 4.0, 4.0]
    assert [axis["name"] for axis in said["axes"]] == ["z", "displacement", "y", "x"]
    assert said["axes"][1]["unit"] == "pixel"
    assert said["axes"][1]["components"] == ["dy", "dx"]
    assert said["axes"][3] == {"name": "x", "type": "space", "unit": "nanometer"}
    assert array.metadata.dimension_names == ("z", "displacement", "y", "x")
    back = read_field(tmp_path / "u.zarr")
    assert (back.voxel_nm, back.limit_nm) == (VOXEL, 30.0)
    assert read_field_record(tmp_path / "u.zarr") == {"method": "x", "score": None}
    assert read_field_record(tmp_path / "u.npy") is None


def test_coarse_nodes_can_be_kept_in_a_zarr(tmp_path):
    field = drawn()
    write_field(field, tmp_path / "u.zarr", dense=False)
    back = read_field(tmp_path / "u.zarr")
    assert back.nodes == (5, 7)
    assert np.array_equal(back.data[:], field.data)
    assert np.array_equal(dense(back), dense(field))
    with pytest.raises(InputError, match="does not say which volume"):
        write_field(field, tmp_path / "u.npy", dense=False)
    assert not (tmp_path / "u.npy").exists()


def test_an_alignment_is_written_with_its_record(tmp_path):
    volume = Volume.of(np.zeros(SHAPE, np.uint8))
    result = Result(volume=volume, synthetic=volume, provenance={"method": "ssemnet"}, displacement=drawn())
    write_field(result, tmp_path / "u.zarr")
    assert read_field_record(tmp_path / "u.zarr") == {"method": "ssemnet"}
    redrawn = Result(volume=volume, synthetic=volume, provenance={"method": "jain2017"})
    with pytest.raises(InputError, match="jain2017 redraws voxels"):
        write_field(redrawn, tmp_path / "v.zarr")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_a_file_moves_like_one_in_memory_and_travels_as_a_name(tmp_path, name):
    volume = Volume.of(np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8))
    write_field(drawn(), tmp_path / name)
    back = pickle.loads(pickle.dumps(read_field(tmp_path / name)))
    assert np.array_equal(moved(volume, back, "cubic").data, moved(volume, drawn(), "cubic").data)
    wide = (3, 1000, 1200)
    write_field(Displacement.zero(wide, 16), tmp_path / f"wide-{name}")
    assert len(pickle.dumps(read_field(tmp_path / f"wide-{name}"))) < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_field(tmp_path, name):
    field = Displacement.zero((12, 1024, 1024), 64)
    field.data[:] = 0.5
    write_field(Displacement.zero((1, 16, 16), 16), tmp_path / f"first-{name}")  # what is imported then is not counted
    tracemalloc.start()
    write_field(field, tmp_path / name)
    read_field(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the field has 100 MB, a strip 4 MB


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_there_whole_or_not_at_all(tmp_path, name):
    path, token = tmp_path / name, CancelToken()
    write_field(drawn(), path)
    before = dense(read_field(path))
    with pytest.raises(InputError, match="exists"):
        write_field(drawn(), path)
    with pytest.raises(Cancelled):
        write_field(Displacement.zero(SHAPE), path, overwrite=True, cancel=token, progress=lambda *_: token.cancel())
    assert np.array_equal(dense(read_field(path)), before)
    write_field(Displacement.zero(SHAPE), path, overwrite=True)
    assert not dense(read_field(path)).any()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_places_where_nothing_must_be_written_are_refused(tmp_path):
    (tmp_path / "full.zarr").mkdir()
    (tmp_path / "full.zarr" / "thesis.txt").write_text("mine")
    for path, said in [
        (tmp_path / "u.tif", r"suffix '.tif', needs .npy, .zarr, .ome.zarr, .nrrd, .mha or .sofima.npz"),
        (tmp_path / "none" / "u.npy", "does not exist"),
        (tmp_path / "full.zarr", "holds other things"),
    ]:
        with pytest.raises(InputError, match=said):
            check_field_output(path, overwrite=True)
    with pytest.raises(InputError, match="same file"):
        check_field_output(tmp_path / "full.zarr", tmp_path / "full.zarr", overwrite=True)


BAD = [
    (np.zeros((3, 40, 56)), "shape"),
    (np.zeros((3, 3, 40, 56)), "shape"),
    (np.zeros((3, 2, 40, 56), complex), "complex"),
    (np.full((3, 2, 40, 56), np.nan, np.float32), "not numbers, in section 0"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("data", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_no_field_is_refused_in_one_line(tmp_path, name, data, said):
    with pytest.raises(InputError, match=said) as caught:
        read_field(saved(tmp_path / name, data))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_one_infinite_value_far_down_is_found(tmp_path):
    data = np.zeros((2, 2, 600, 8), np.float32)
    data[1, 0, 599, 7] = np.inf
    with pytest.raises(InputError, match="section 1"):
        read_field(saved(tmp_path / "u.npy", data))


def test_damaged_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "short.npy").write_bytes(saved(tmp_path / "u.npy", np.zeros((3, 2, 9, 9))).read_bytes()[:500])
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "empty.zarr").mkdir()
    zarr.create_group(str(tmp_path / "group.zarr"))
    for name in ("short.npy", "text.npy", "empty.npy", "object.npy", "empty.zarr", "group.zarr", "none.npy", "u.tif"):
        with pytest.raises(InputError) as caught:
            read_field(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [{"direction": "push"}, {"version": 2}, {"shape": None}, {"shape": [3, 40]}])
def test_a_zarr_that_means_something_else_is_refused(tmp_path, said):
    write_field(drawn(), tmp_path / "u.zarr")
    array = zarr.open(str(tmp_path / "u.zarr"), mode="r+")
    array.attrs["displacement"] = {**array.attrs["displacement"], **said}
    with pytest.raises(InputError, match=r"u\.zarr"):
        read_field(tmp_path / "u.zarr")


def test_whole_numbers_and_doubles_are_read_too(tmp_path):
    for dtype in ("int16", ">f4", "float64", "float16"):
        field = read_field(saved(tmp_path / f"{np.dtype(dtype).name}.npy", np.full((1, 2, 4, 5), 3, dtype)))
        assert field.dense(0).dtype == np.float32
        assert (field.dense(0) == 3).all()


def volume(shape, voxel_nm=None):
    return Volume.of(np.zeros(shape, np.uint8), voxel_nm=voxel_nm)


@pytest.mark.parametrize("shape", [(3, 160, 224), (3, 162, 225), (3, 20, 28), (3, 40, 56)])
def test_a_field_fits_the_same_tissue_in_other_pixels(shape):
    field = drawn(voxel_nm=None)
    out = fitted(field, volume(shape))
    assert out.shape == shape
    scale = shape[1] / 40
    middle = field.at(1, np.array([19.5]), np.array([27.5]))
    found = out.at(1, np.array([shape[1] / 2 - 0.5]), np.array([shape[2] / 2 - 0.5]))
    np.testing.assert_allclose(found, scale * middle, rtol=0.02)


def test_a_fitted_field_takes_the_volumes_voxel_size():
    assert fitted(drawn(voxel_nm=None), volume(SHAPE, VOXEL)).voxel_nm == VOXEL
    assert fitted(drawn(), volume((3, 160, 224))).voxel_nm == (30.0, 1.0, 1.0)
    assert fitted(drawn(), volume((3, 160, 224), (30.0, 1.004, 1.0))).voxel_nm == (30.0, 1.004, 1.0)


@pytest.mark.parametrize(
    ("shape", "voxel_nm", "said"),
    [
        ((4, 40, 56), None, "3 x 40 x 56 voxels .* does not fit a volume of 4 x 40 x 56"),
        ((3, 56, 40), None, "does not fit"),
        ((3, 160, 112), None, "does not fit"),
        ((3, 40, 50), None, "does not fit"),
        ((3, 160, 224), (30.0, 4.0, 4.0), "1 nm along y does not fit a volume of 4 nm"),
        ((3, 40, 56), (15.0, 4.0, 4.0), "30 nm along z"),
    ],
)
def test_a_field_of_other_tissue_is_refused(shape, voxel_nm, said):
    with pytest.raises(InputError, match=said):
        fitted(drawn(), volume(shape, voxel_nm))


@pytest.mark.parametrize("name", NAMES)
def test_the_field_of_a_binned_copy_is_read_for_the_full_size(tmp_path, name):
    rng = np.random.default_rng(1)
    small = rng.normal(0, 1, (2, 2, 3, 4)).astype(np.float32)
    write_field(Displacement(small, (2, 24, 32)), tmp_path / name)
    full = Volume.of(rng.integers(0, 255, (2, 96, 128), np.uint8), voxel_nm=VOXEL)
    field = read_field(tmp_path / name, full)
    assert (field.shape, field.voxel_nm) == ((2, 96, 128), VOXEL)
    want = Displacement(small, (2, 24, 32)).resized((2, 96, 128))
    np.testing.assert_allclose(dense(field)[:, :, 8:-8, 8:-8], dense(want)[:, :, 8:-8, 8:-8], atol=0.1)
    with pytest.raises(InputError, match="does not fit"):
        read_field(tmp_path / name, np.zeros((2, 96, 96), np.uint8))
