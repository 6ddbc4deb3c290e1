"""Damages files by a seed and reads them, in a process of its own whose memory and time are bounded.

Run as ``python harness.py READER FIRST COUNT FOLDER``: prints one JSON object a fault, and the number of outcomes.
A fault is anything but voxels within bounds or one clear line: a traceback, a hang, memory, a message of many lines.
"""

import gzip
import json
import os
import random
import resource
import signal
import sys
import traceback
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

HANG_S = 30
# Beyond what the process has when it begins: several times the largest honest input, and less than any bomb.
SLACK_BYTES = 768 << 20
STACK = np.random.default_rng(0).integers(0, 255, (5, 40, 48)).astype("u1")
INTERESTING = (*range(4), 127, 255, 256, 32767, 65535, 65536, *(2**n - k for n in (31, 32, 63, 64) for k in (0, 1)))


class HangError(Exception):
    pass


# ----------------------------------------------------------------------------------------- mutations


def bytes_of(data, rng):
    """Return damaged bytes: flips, numbers, cuts, holes, repeats, mostly near either end, where headers are."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        at = rng.randrange(len(data))
        if rng.random() < 0.7:
            at = rng.choice((rng.randrange(min(len(data), 1024)), len(data) - 1 - rng.randrange(min(len(data), 1024))))
        how = rng.randrange(8)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how in (1, 2):
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(INTERESTING) % (1 << 8 * size)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif how == 3:
            del data[at:]
        elif how == 4:
            del data[at : at + rng.choice((1, 2, 4, 16, 256))]
        elif how == 5:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 4, 16))))
        elif how == 6:
            data[at : at + rng.choice((4, 64, 1024))] = b"\0" * 4
        else:
            data[at : at + 16] = data[: rng.randrange(17)]
    return bytes(data)


def deep(depth):
    return json.loads("[" * depth + "]" * depth)


def json_of(text, rng):
    """Return damaged JSON: a value exchanged, left out or added anywhere; or damaged bytes."""
    if rng.random() < 0.2:
        return bytes_of(text, rng)
    if rng.random() < 0.05:
        return b"[" * 100_000
    value = json.loads(text)
    holders = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            holders.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(value, dict | list) or not value:
        return bytes_of(text, rng)
    walk(value)
    for _ in range(rng.choice((1, 1, 2))):
        node, key = rng.choice(holders)
        new = rng.choice((
            None, "", "a", -1, 0, 1, 3.5, 1e308, 2**40, 2**63, "0,5", "NaN", True, [], {}, [None], [1, 2], [[1]],
            {"a": 1}, "../../etc", "bytes", float("nan"), float("inf"), deep(50), [2**33, 2**33, 2**33], "|O",
            ">u8", "gzip",
        ))  # fmt: skip
        how = rng.randrange(4)
        try:
            if how == 0 and isinstance(node, dict):
                node.pop(key, None)
            elif how == 1 and isinstance(node, dict):
                node["unheard-of"] = new
            elif how == 2 and isinstance(node, list):
                node.append(new)
            else:
                node[key] = new
        except IndexError:
            pass
    return json.dumps(value).encode()


def folder_of(folder, rng):
    """Damage a file of a folder: its contents, or its being there, or its being a file."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    meta = [p for p in files if p.suffix == ".json" or p.name.startswith(".z")]
    file = rng.choice(meta if meta and rng.random() < 0.6 else files)
    how = rng.randrange(10)
    if how == 0:
        file.unlink()
    elif how == 1:
        file.write_bytes(b"")
    elif how == 2:
        file.unlink()
        file.mkdir()
    elif how == 3:
        file.unlink()
        os.mkfifo(file)
    elif how == 4:
        file.unlink()
        file.symlink_to(file.name)
    elif how == 5:
        file.write_bytes(bytes(rng.randrange(256) for _ in range(64)))
    else:
        file.write_bytes((json_of if file in meta else bytes_of)(file.read_bytes(), rng))


# ------------------------------------------------------------------------------------------- inputs


def tiff(folder, rng):
    import tifffile

    options = rng.choice((
        {}, {"compression": "zlib"}, {"compression": "lzw", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"imagej": True, "metadata": {"spacing": 40.0, "unit": "nm"}}, {"bigtiff": True}, {"metadata": None},
        {"compression": "zstd", "rowsperstrip": 7}, {"byteorder": ">", "imagej": True},
    ))  # fmt: skip
    tifffile.imwrite(folder / "in.tif", STACK, **options)
    (folder / "in.tif").write_bytes(bytes_of((folder / "in.tif").read_bytes(), rng))
    return folder / "in.tif"


def ome(folder, rng):
    import tifffile

    said = {"axes": "ZYX", **{f"PhysicalSize{a}": 4.0 for a in "ZYX"}, **{f"PhysicalSize{a}Unit": "nm" for a in "ZYX"}}
    tifffile.imwrite(folder / "in.ome.tif", STACK, metadata=said, compression=rng.choice((None, "zlib")))
    data = (folder / "in.ome.tif").read_bytes()
    start, stop = data.index(b"<?xml"), data.index(b"</OME>") + 6
    xml = bytearray(data[start:stop])
    for _ in range(rng.choice((1, 2, 4))):
        at = rng.randrange(len(xml))
        xml[at] = rng.choice(b'0123456789<>"/= ,.ZYXT-')
    whole = data[:start] + bytes(xml) + data[stop:]
    (folder / "in.ome.tif").write_bytes(whole if rng.random() < 0.7 else bytes_of(data, rng))
    return folder / "in.ome.tif"


def zarr_array(folder, rng):
    import zarr

    options = rng.choice((
        {"zarr_format": 3}, {"zarr_format": 2}, {"zarr_format": 3, "shards": (4, 32, 32)},
        {"zarr_format": 3, "attributes": {"voxel_nm": [4, 4, 4]}, "dimension_names": ["z", "y", "x"]},
    ))  # fmt: skip
    array = zarr.create_array(folder / "in.zarr", shape=STACK.shape, chunks=(2, 16, 16), dtype="u1", **options)
    array[:] = STACK
    folder_of(folder / "in.zarr", rng)
    return folder / "in.zarr"


def ome_zarr(folder, rng):
    from napari_emsynth import io
    from napari_emsynth.volume import Volume

    io.write(Volume.of(STACK, voxel_nm=(40, 4, 4)), folder / "in.ome.zarr")
    folder_of(folder / "in.ome.zarr", rng)
    return folder / "in.ome.zarr"


def mrc(folder, rng):
    import mrcfile

    with mrcfile.new(folder / "in.mrc", STACK.astype(rng.choice(("i1", "i2", "f4")))) as file:
        file.voxel_size = 40.0
    (folder / "in.mrc").write_bytes(bytes_of((folder / "in.mrc").read_bytes(), rng))
    return folder / "in.mrc"


def images(folder, rng):
    import tifffile
    from PIL import Image

    (folder / "in").mkdir()
    suffix = rng.choice((".png", ".tif", ".jpg", ".bmp"))
    for z, section in enumerate(STACK):
        name = folder / "in" / f"s{z}{suffix}"
        tifffile.imwrite(name, section) if suffix == ".tif" else Image.fromarray(section).save(name)
    folder_of(folder / "in", rng)
    return folder / "in"


def field(folder, rng):
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.io.fields import write_field

    moved = Displacement(np.zeros((3, 2, 20, 24), np.float32), (3, 20, 24), (40.0, 4.0, 4.0))
    path = folder / rng.choice(("in.npy", "in.zarr"))
    write_field(moved, path)
    if path.suffix == ".npy":
        path.write_bytes(bytes_of(path.read_bytes(), rng))
    else:
        folder_of(path, rng)
    return path


def packed(path):
    """Return the bytes of a field as its format compresses it."""
    data = path.read_bytes()
    if path.suffix == ".npz":
        with np.load(path) as held, BytesIO() as made:
            np.savez_compressed(made, **held)
            return made.getvalue()
    head, end, vectors = data.partition(b"\n\n" if path.suffix == ".nrrd" else b"LOCAL\n")
    head = head.replace(b"encoding: raw", b"encoding: gzip").replace(
        b"CompressedData = False", b"CompressedData = True"
    )
    return head + end + (gzip.compress if path.suffix == ".nrrd" else zlib.compress)(vectors)


def field_of_others(folder, rng):
    """As ITK, SOFIMA and OME-Zarr have them; of headers, the text is what is changed most."""
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.io.fields import write_field

    moved = Displacement(np.zeros((3, 2, 20, 24), np.float32), (3, 20, 24), (40.0, 4.0, 4.0))
    path = folder / rng.choice(("in.nrrd", "in.mha", "in.sofima.npz", "in.ome.zarr"))
    write_field(moved, path)
    if path.is_dir():
        folder_of(path, rng)
        return path
    data = packed(path) if rng.random() < 0.4 else path.read_bytes()
    head = data[:HEAD_BYTES]
    path.write_bytes(bytes_of(head, rng) + data[HEAD_BYTES:] if rng.random() < 0.6 else bytes_of(data, rng))
    return path


def weights(folder, rng):
    from napari_emsynth.weights import store

    here = store.HERE / "interpolate-fitted-bundled.safetensors"
    card = (store.HERE / "cards" / "interpolate-fitted-bundled.toml").read_bytes()
    data = here.read_bytes()
    if rng.random() < 0.5:
        card = bytes_of(card, rng)
    else:
        data = bytes_of(data, rng)
        import hashlib

        old = hashlib.sha256(here.read_bytes()).hexdigest().encode()
        card = card.replace(old, hashlib.sha256(data).hexdigest().encode())
    (folder / "in.safetensors").write_bytes(data)
    (folder / "in.toml").write_bytes(card)
    return folder / "in.safetensors"


HEAD_BYTES = 400
BLOCKS = {n: f"{n:032x}" for n in range(40)}


def journal(folder, rng):
    from napari_emsynth.io.atomic.journal import Journal

    noted = Journal.start(folder / "in.journal", "the job", 64)
    for block, found in BLOCKS.items():
        noted.add(block, found)
    data = noted.path.read_bytes()
    head, _, rest = data.partition(b"\n")
    noted.path.write_bytes(bytes_of(data, rng) if rng.random() < 0.6 else json_of(head, rng) + b"\n" + rest)
    return noted.path


INPUTS = {
    "tiff": tiff, "ome": ome, "zarr": zarr_array, "ome_zarr": ome_zarr, "mrc": mrc, "images": images, "field": field,
    "field_of_others": field_of_others,
    "weights": weights, "journal": journal,
}  # fmt: skip


def read(kind, path):
    """Read all there is, a window at a time."""
    if kind == "weights":
        from napari_emsynth.weights import store

        store.load("interpolate/fitted", str(path))
        return
    if kind == "journal":
        from napari_emsynth.io.atomic.journal import Journal

        found = Journal.resume(path, "the job", 64, path, lambda line: None)
        assert found is None or found.done.items() <= BLOCKS.items(), "claims more than was written"
        return
    if kind in ("field", "field_of_others"):
        from napari_emsynth.io.fields import read_field

        found = read_field(path)
        found.dense(0, slice(0, 8))
        return
    from napari_emsynth import io

    volume = io.read(path)
    for z in sorted({0, volume.shape[0] // 2, volume.shape[0] - 1}):
        window = (slice(z, z + 1), slice(0, 64), slice(0, 64))
        volume.read(*window)
        for marks in ({} if volume.known is None else volume.known.marks).values():
            np.asarray(marks[window])
    io.read_provenance(path)


# ------------------------------------------------------------------------------------------ running


def outcome(kind, seed, folder):
    """Return "read", "refused", or what went wrong."""
    from napari_emsynth.errors import InputError

    rng = random.Random(f"{kind}-{seed}")
    place = folder / str(seed)
    place.mkdir()
    path = INPUTS[kind](place, rng)
    outside = sorted(str(p) for p in folder.iterdir())
    signal.alarm(HANG_S)
    try:
        read(kind, path)
        said = "read"
    except InputError as error:
        line = str(error)
        clear = "\n" not in line and len(line) < 700 and ("in" in line)
        said = "refused" if clear else f"not a clear line: {line[:400]!r}"
    except HangError:
        said = f"hangs for {HANG_S} s"
    except BaseException:  # noqa: BLE001 - whatever it is, it is a fault
        said = traceback.format_exc()[-1500:]
    finally:
        signal.alarm(0)
    return said if sorted(str(p) for p in folder.iterdir()) == outside else "wrote outside"


def main(kind, first, count, folder):
    """Print every fault, then how often each other outcome was met."""
    warnings.simplefilter("ignore")

    def hang(*_):
        raise HangError

    signal.signal(signal.SIGALRM, hang)
    outcome(kind, "warm-up", folder)  # libraries are loaded before memory is bounded
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + SLACK_BYTES, now + SLACK_BYTES))
    met = {"read": 0, "refused": 0}
    for seed in range(first, first + count):
        said = outcome(kind, seed, folder)
        if said in met:
            met[said] += 1
        else:
            print(json.dumps({"seed": seed, "fault": said}), flush=True)
    print(json.dumps(met), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
