"""A command that is told to end, or is killed: what is under a final name is whole, and what is finished stays."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

import napari_emsynth as es
from napari_emsynth.cli.signals import as_interrupts, ending
from napari_emsynth.io import read_provenance, read_synthetic, read_uncertainty
from napari_emsynth.io.atomic import work_folder
from napari_emsynth.io.content import stable
from napari_emsynth.spec import CancelToken

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

SECTIONS = "5,20,35,50,65,80"
# A real command takes seconds: of what is alike, one is run each time.
nightly = partial(pytest.param, marks=pytest.mark.nightly)
ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def hearing():
    for number in ENDINGS:
        signal.signal(number, signal.SIG_DFL)


def begun(source, out, *words):
    """Start a real command; in a shell's background interrupts would be ignored, and so here."""
    run = [sys.executable, "-m", "napari_emsynth.cli", "interpolate", source, out, "--sections", SECTIONS]
    run += ["--method", "linear", *words]
    return subprocess.Popen(
        list(map(str, run)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=hearing
    )


def until(process, there):
    """Wait until something is there, or the process has ended."""
    while process.poll() is None and not there():
        time.sleep(0.005)


def ended(process):
    _, said = process.communicate(timeout=200)
    return process.returncode, said.splitlines()[-1] if said else ""


def content(path):
    parts = [es.read(path), read_synthetic(path), read_uncertainty(path)]
    return [None if part is None else part.read(slice(None)).tobytes() for part in parts], stable(read_provenance(path))


def is_claimed(out):
    return lambda: (work_folder(out) / "lock").exists()


def has_finished(out, blocks):
    journal = work_folder(out) / "journal"
    return lambda: journal.exists() and journal.read_bytes().count(b"\n") > blocks


@pytest.fixture(scope="module")
def whole(tall, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    assert ended(begun(tall, out))[0] == 0
    return content(out)


@pytest.mark.parametrize("number", [nightly(signal.SIGINT), signal.SIGTERM])
def test_a_signal_ends_a_zarr_job_with_a_word_of_what_is_kept(tall, whole, tmp_path, number):
    out = tmp_path / "out.zarr"
    process = begun(tall, out)
    until(process, has_finished(out, 2))
    process.send_signal(number)
    code, said = ended(process)
    assert code == ENDINGS[number]
    assert "interrupted; " in said
    assert "of 6 blocks of" in said
    assert "--resume" in said
    assert not out.exists()
    assert ended(begun(tall, out, "--resume"))[0] == 0
    assert content(out) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("number", [signal.SIGINT, nightly(signal.SIGTERM), nightly(signal.SIGHUP)])
def test_a_signal_leaves_nothing_of_a_tiff_job(tall, tmp_path, number):
    out = tmp_path / "out.tif"
    process = begun(tall, out)
    until(process, is_claimed(out))
    process.send_signal(number)
    code, said = ended(process)
    assert code == ENDINGS[number]
    assert said == "emsynth: interrupted; no unfinished result was left"
    assert not list(tmp_path.iterdir())


def test_a_killed_tiff_job_is_cleaned_by_the_next_one(tall, tmp_path):
    out = tmp_path / "out.tif"
    process = begun(tall, out)
    until(process, lambda: (work_folder(out) / "data").exists())
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    assert ended(begun(tall, out))[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


def test_the_second_of_two_commands_is_refused_before_it_computes(tall, tmp_path, emsynth):
    out = tmp_path / "out.tif"
    process = begun(tall, out)
    until(process, is_claimed(out))
    process.send_signal(signal.SIGSTOP)
    try:
        answer = emsynth("interpolate", tall, out, "--sections", "5", "--method", "linear")
    finally:
        process.send_signal(signal.SIGCONT)
    assert answer.code == 2
    assert "is being written by another job" in answer.err
    assert ended(process)[0] == 0


def test_an_input_that_vanishes_keeps_what_is_finished(tall, whole, tmp_path):
    """A Zarr without its chunks would read as zeros."""
    source, away, out = tmp_path / tall.name, tmp_path / "away", tmp_path / "out.zarr"
    shutil.copytree(tall, source, copy_function=shutil.copy2)
    process = begun(source, out)
    until(process, has_finished(out, 2))
    source.rename(away)
    code, said = ended(process)
    assert code == 2
    assert "has vanished" in said
    assert "of 6 blocks of" in said
    assert "--resume" in said
    away.rename(source)
    assert ended(begun(source, out, "--resume"))[0] == 0
    assert content(out) == whole


def test_workers_end_with_the_command(tall, tmp_path):
    """Without a word of Python's own about what was left in memory."""
    out = tmp_path / "out.zarr"
    process = begun(tall, out, "--workers", "1")
    until(process, has_finished(out, 1))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 143
    assert "leaked" not in said
    assert "Traceback" not in said
    assert "--resume" in said.splitlines()[-1]


def test_what_a_signal_did_before_it_does_afterwards(emsynth):
    before = [signal.getsignal(number) for number in ENDINGS]
    assert emsynth("methods").code == 0
    assert [signal.getsignal(number) for number in ENDINGS] == before


@pytest.mark.parametrize("number", ENDINGS)
def test_a_request_to_end_is_not_lost_where_it_is_swallowed(number):
    """As libraries do that try one import after another; tests that run in the background ignore interrupts."""
    before = signal.signal(number, signal.default_int_handler)
    token = CancelToken()
    with as_interrupts() as arrived, ending(token):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert token.cancelled
    assert signal.signal(number, before) is signal.default_int_handler
    assert arrived == [number]


def disturb(source, whole, out, rng, rounds):
    """Start, end at a random moment in a random way, start again; until a run gets through."""
    for _ in range(rounds):
        before = out.parent.joinpath(work_folder(out).name).exists()
        process = begun(source, out, *(["--resume"] if out.suffix == ".zarr" else []))
        if rng.random() < 0.8:
            until(process, is_claimed(out))
        time.sleep(rng.uniform(0, 1.5))
        number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        process.send_signal(number)
        code, said = ended(process)
        # Before our first line runs, an interrupt is Python's own affair.
        assert code in (0, -number, ENDINGS.get(number)) or said == "KeyboardInterrupt", said
        names = {p.name for p in out.parent.iterdir()}
        if code == 0:
            assert names == {out.name}
            break
        assert out.name not in names or content(out) == whole
        assert names <= {out.name, work_folder(out).name}
        if out.suffix != ".zarr" and code == ENDINGS.get(number) and not before:
            assert names <= {out.name}, "only a killed job leaves anything"
        if out.exists():  # it was told to end when all was done
            break
    else:
        assert ended(begun(source, out, *(["--resume"] if out.suffix == ".zarr" else [])))[0] == 0
    assert content(out) == whole


@pytest.mark.parametrize(("seed", "name"), [(0, "out.zarr"), nightly(1, "out.tif")])
def test_kills_at_random_moments_change_nothing(tall, whole, tmp_path, seed, name):
    disturb(tall, whole, tmp_path / name, random.Random(seed), rounds=3)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(2, 14))
@pytest.mark.parametrize("name", ["out.zarr", "out.tif"])
def test_many_kills_at_random_moments_change_nothing(tall, whole, tmp_path, seed, name):
    disturb(tall, whole, tmp_path / name, random.Random(seed), rounds=20)


@pytest.mark.parametrize("rounds", [3, nightly(40)])
def test_a_patch_survives_kills(tall, tmp_path, rounds):
    """Put in and taken out again, each of them killed at random moments."""
    place, patch = tmp_path / "in.zarr", tmp_path / "p.patch.zarr"
    shutil.copytree(tall, place)
    volume = es.read(place)
    result = es.interpolate(volume, sections=SECTIONS, method="linear", selfcheck=False)
    es.write(result, tmp_path / "whole.zarr")
    es.write_patch(result, volume, patch)
    before, after = content(place), content(tmp_path / "whole.zarr")
    rng = random.Random(rounds)
    for verb, parts in (("apply", after[0]), ("undo", before[0])):
        for _ in range(rounds):
            run = [sys.executable, "-m", "napari_emsynth.cli", "patch", verb, str(patch), str(place)]
            process = subprocess.Popen(run, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            until(process, lambda: (work_folder(place) / "lock").exists())
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            ended(process)
        run = [sys.executable, "-m", "napari_emsynth.cli", "patch", verb, str(patch), str(place)]
        done = subprocess.run(run, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode in ((0,) if verb == "apply" else (0, 2)), done.stderr
        assert content(place)[0] == parts
    assert content(place) == before
    assert {p.name for p in tmp_path.iterdir()} == {"in.zarr", "p.patch.zarr", "whole.zarr"}
    assert not list(place.rglob("*.partial"))
