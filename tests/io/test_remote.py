"""Volumes of servers: a web server and an S3 server on this machine, and stores in memory."""

import functools
import http.server
import json
import shutil
import socket
import threading
from typing import ClassVar

import numpy as np
import pytest
import zarr

import napari_emsynth as es
from napari_emsynth.io.url import Url, location

pytest.importorskip("s3fs")
ts = pytest.importorskip("tensorstore")

SHAPE = (20, 70, 66)
VOXEL = (30.0, 8.0, 8.0)


def tissue(dtype="u1"):
    rng = np.random.default_rng(0)
    return (np.cumsum(rng.integers(-9, 10, SHAPE), axis=0).clip(-120, 120) + 128).astype(dtype)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and does what ``faults`` says of a path: a status, or bytes in place of its own."""

    faults: ClassVar[dict] = {}

    def do_GET(self):
        fault = next((fault for part, fault in self.faults.items() if part in self.path), None)
        if isinstance(fault, list):  # statuses, one a request, then as it should be
            fault = fault.pop(0) if fault else None
        if isinstance(fault, int):
            self.send_error(fault)
        elif isinstance(fault, bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(fault)))
            self.end_headers()
            self.wfile.write(fault)
        else:
            super().do_GET()

    def list_directory(self, path):
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """A folder, and the address at which it is served."""
    Handler.faults = {}
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What fails is tried again at once."""
    monkeypatch.setattr("napari_emsynth.io.zarr.remote.PAUSES_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def s3():
    """A bucket of an S3 server of this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="lab")
        yield client
    server.stop()


def upload(client, folder, prefix):
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.upload_file(str(file), "lab", f"{prefix}/{file.relative_to(folder).as_posix()}")


def assert_reads(place, data, voxel=VOXEL, **choice):
    volume = es.read(place, **choice)
    assert volume.is_lazy
    assert volume.grid.voxel_nm == voxel
    assert np.array_equal(volume.read(slice(None)), data)
    assert np.array_equal(volume.section(7, slice(3, 50), slice(60, 66)), data[7, 3:50, 60:66])
    return volume


def zarrs(folder, data):
    """Write the kinds of Zarr that there are, and yield their names with the voxel size that each states."""
    es.write(es.Volume.of(data, voxel_nm=VOXEL), folder / "ours.ome.zarr")
    yield "ours.ome.zarr", VOXEL
    old = zarr.create_group(str(folder / "old.zarr"), zarr_format=2)
    old.create_array("0", data=data, chunks=(8, 32, 32))
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    scale = [{"type": "scale", "scale": list(VOXEL)}]
    sets = [{"path": "0", "coordinateTransformations": scale}]
    old.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": sets}]
    yield "old.zarr", VOXEL
    zarr.create_array(str(folder / "plain.zarr"), data=data, chunks=(4, 16, 16), shards=(8, 32, 32))
    yield "plain.zarr", None


def test_over_the_web(web):
    folder, address = web
    data = tissue()
    for name, voxel in zarrs(folder, data):
        volume = assert_reads(f"{address}/{name}", data, voxel)
        assert volume.metadata["path"] == f"{address}/{name}"


def test_from_s3(s3, tmp_path):
    data = tissue("u2")
    for name, voxel in zarrs(tmp_path, data):
        upload(s3, tmp_path / name, f"stacks/{name}")
        assert_reads(f"s3://lab/stacks/{name}", data, voxel)


def test_from_memory_and_from_files(tmp_path):
    data = tissue()
    zarr.create_array("memory://here/plain.zarr", data=data, chunks=(4, 16, 16))
    assert_reads("memory://here/plain.zarr", data, None)
    es.write(es.Volume.of(data, voxel_nm=VOXEL), tmp_path / "a b.zarr")
    assert_reads(f"file://{str(tmp_path).replace(' ', '%20')}/a%20b.zarr", data)


def precomputed(store, data, kind="image"):
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": store,
        "multiscale_metadata": {"data_type": str(data.dtype), "num_channels": 1, "type": kind},
        "create": True,
    }
    for factor in (1, 2):
        there = {
            "resolution": [8 * factor, 8 * factor, 30], "encoding": "raw", "chunk_size": [16, 16, 4],
            "size": list(data[:, ::factor, ::factor].shape[::-1]),
            "voxel_offset": [3, 5, 7] if factor == 1 else [0, 0, 0],
        }  # fmt: skip
        array = ts.open({**spec, "scale_metadata": there}).result()
        array[...] = data[:, ::factor, ::factor].transpose()[..., None]
        spec["open"] = True


def test_precomputed(web, tmp_path):
    folder, address = web
    data = tissue()
    precomputed({"driver": "file", "path": f"{folder}/vol/"}, data)
    precomputed({"driver": "file", "path": f"{folder}/cells/"}, data.astype("u8") << 40, "segmentation")
    for place in (folder / "vol", f"{address}/vol", f"precomputed://{address}/vol"):
        volume = assert_reads(place, data)
        assert volume.grid.origin_nm == (210.0, 40.0, 24.0)
        assert not volume.labels
    half = es.read(f"{address}/vol", level=1)
    assert half.grid.voxel_nm == (30.0, 16.0, 16.0)
    assert np.array_equal(half.read(slice(None)), data[:, ::2, ::2])
    with pytest.raises(es.InputError, match="--level 2"):
        es.read(f"{address}/vol", level=2)
    cells = assert_reads(f"{address}/cells", data.astype("u8") << 40)
    assert cells.labels


def test_n5(web, s3):
    folder, address = web
    data = tissue("u2")
    for name, cut in (("s0", data), ("s1", data[:, ::2, ::2])):
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/vol.n5/{name}/"}, "create": True}
        there = {"dimensions": cut.shape[::-1], "blockSize": [16, 16, 4], "dataType": "uint16",
                 "compression": {"type": "gzip"}}  # fmt: skip
        ts.open({**spec, "metadata": there}).result()[...] = cut.transpose()
    said = {
        "n5": "2.5.0",
        "pixelResolution": {"dimensions": [8, 8, 30], "unit": "nm"},
        "scales": [[1, 1, 1], [2, 2, 1]],
    }
    (folder / "vol.n5" / "attributes.json").write_text(json.dumps(said))
    upload(s3, folder / "vol.n5", "vol.n5")
    for place in (folder / "vol.n5", f"{address}/vol.n5", f"n5://{address}/vol.n5", "s3://lab/vol.n5"):
        assert_reads(place, data)
    half = es.read(f"{address}/vol.n5", level=1)
    assert half.grid.voxel_nm == (30.0, 16.0, 16.0)
    assert np.array_equal(half.read(slice(None)), data[:, ::2, ::2])
    assert_reads(f"{address}/vol.n5/s0", data, None)


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.fixture
def served(web):
    folder, address = web
    data = tissue()
    es.write(es.Volume.of(data, voxel_nm=VOXEL), folder / "stack.zarr")
    return folder / "stack.zarr", f"{address}/stack.zarr", data


def test_what_fails_for_a_moment_is_tried_again(served):
    _, address, data = served
    volume = es.read(address)
    Handler.faults = {"/0/c/": [503, 500]}
    assert np.array_equal(volume.read(slice(None)), data)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"/0/c/1": 500}, r"section 16 cannot be read: 500"),
        ({"/0/c/": 403}, r"section 0 cannot be read: 403"),
        ({"/0/c/": b""}, r"section 0 cannot be read"),
        ({"/0/c/": b"\x28\xb5\x2f\xfd nonsense, for sure"}, r"section 0 cannot be read"),
    ],
)
def test_chunks_that_cannot_be_read_are_named(served, fault, said):
    _, address, _ = served
    volume = es.read(address)
    Handler.faults = fault
    with pytest.raises(es.InputError, match=said) as error:
        volume.read(slice(None))
    assert address in str(error.value)


def test_a_store_that_vanishes_is_not_empty(served):
    place, address, _ = served
    volume = es.read(address)
    place.rename(place.with_name("away"))
    with pytest.raises(es.InputError, match="not there any more"):
        volume.section(3)


def test_a_chunk_that_was_never_there_is(web):
    folder, address = web
    array = zarr.create_array(
        str(folder / "sparse.zarr"), shape=(8, 32, 32), chunks=(4, 16, 16), dtype="u1", fill_value=9
    )
    array[:4] = 5
    found = es.read(f"{address}/sparse.zarr").read(slice(None))
    assert (found[:4] == 5).all()
    assert (found[4:] == 9).all()


def test_a_command_from_a_server(served, emsynth_main, tmp_path):
    place, address, data = served
    out = tmp_path / "out.zarr"
    assert emsynth_main("interpolate", address, out, "--sections", "7", "--method", "linear") == 0
    mended = es.read(out)
    assert np.array_equal(np.delete(mended.data[:], 7, 0), np.delete(data, 7, 0))
    assert mended.record["source"]["name"] == "stack.zarr"
    assert emsynth_main("interpolate", address, tmp_path / "p.patch.zarr", "--sections", "7", "--patch") == 0
    shutil.rmtree(place)
    assert emsynth_main("interpolate", address, tmp_path / "b.zarr", "--sections", "7") == 2


@pytest.fixture
def emsynth_main():
    from napari_emsynth.cli import main

    return lambda *words: main([str(word) for word in words])


def test_no_secret_is_told(s3, tmp_path):
    es.write(es.Volume.of(tissue(), voxel_nm=VOXEL), tmp_path / "a.zarr")
    upload(s3, tmp_path / "a.zarr", "a.zarr")
    result = es.interpolate(es.read("s3://lab/a.zarr"), [7], method="linear", selfcheck=False)
    assert "not-to-be-told" not in json.dumps(result.provenance)
    assert "not-to-be-told" not in repr(es.read("s3://lab/a.zarr"))
    for address in ("https://me:word@host/a.zarr", "https://host/a.zarr?X-Amz-Signature=word"):
        with pytest.raises(es.InputError, match="neither a password nor a query") as error:
            es.read(address)
        assert "word@" not in str(error.value)
        assert "Signature" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/a.zarr", "ftp:// is no store that can be read; known: http"),
        ("s3:///a.zarr", "names no server or bucket"),
        ("memory://nothing/a.zarr", "nothing that can be read is at memory://nothing/a.zarr"),
    ],
)
def test_addresses_that_lead_nowhere(address, said):
    with pytest.raises(es.InputError, match=said):
        es.read(address)


def test_a_server_that_does_not_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(es.InputError, match=f"127.0.0.1:{port}"):
        es.read(f"http://127.0.0.1:{port}/a.zarr")


def test_a_bucket_that_may_not_be_read(s3):
    with pytest.raises(es.InputError, match=r"s3://nobodys/a\.zarr"):
        es.read("s3://nobodys/a.zarr")


def test_results_go_to_a_disk():
    volume = es.Volume.of(tissue())
    with pytest.raises(es.InputError, match=r"cannot write s3://lab/out\.zarr"):
        es.write(volume, "s3://lab/out.zarr")


def test_where_addresses_lead():
    assert location("s3://lab/a.ome.zarr/") == Url("s3://lab/a.ome.zarr")
    assert location("n5://https://host/a") == Url("https://host/a", "n5")
    assert location("precomputed://gs://lab/a").kind == "precomputed"
    assert (Url("s3://lab/a.zarr") / "0").text == "s3://lab/a.zarr/0"
    assert (Url("s3://lab/x/a.ome.zarr").name, Url("https://host").name) == ("a.ome.zarr", "host")
