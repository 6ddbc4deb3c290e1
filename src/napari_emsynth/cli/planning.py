"""``--plan``: what a command would take, told instead of done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_emsynth.cli.screen import Screen

if TYPE_CHECKING:
    from napari_emsynth.options import Options
    from napari_emsynth.spec import Runtime, Task
    from napari_emsynth.volume import Volume

# Of the sample on which the speed is measured: sections that every method can work with, and px.
SAMPLE = {"align": (5, 128, 128)}
OTHERS = (12, 192, 192)
HELP = "Tell what the run would take (blocks, bytes, memory, hours), without reading a voxel; write nothing."


def tell_plan(
    screen: Screen, task: Task, volume: Volume, options: Options, runtime: Runtime, *, patch: bool = False
) -> None:
    """Answer with what a run would take."""
    from napari_emsynth.methods.planning import plan_of
    from napari_emsynth.testing.phantoms import Phantom

    shape = SAMPLE.get(task, OTHERS)
    sample = Phantom(shape=shape, voxel_nm=volume.grid.voxel_nm, dtype=volume.dtype.name).volume()
    told = plan_of(task, volume, options, runtime, sample, patch=patch).to_json()
    screen.answer({"plan": True, **told, "notices": screen.notes}, "\n".join([describe(told), *screen.notes]))


def describe(told: dict[str, Any]) -> str:
    """Return a plan for a person."""
    shape = " x ".join(map(str, told["shape"]))
    size = "" if told["voxel_nm"] is None else f" of {', '.join(f'{n:g}' for n in told['voxel_nm'])} nm"
    hours = f"{told['seconds']:.0f} s" if told["seconds"] < 600 else f"{told['hours']:.1f} h"
    what = f"{told['task']}/{told['method']}: {shape} voxels{size}, {told['made']:.3g} of them made or moved"
    data = f"reads {amount(told['read_bytes'])}, writes {amount(told['written_bytes'])} before compression"
    files = f"{told['chunks']} chunks in {told['files']} files"
    rates = f"{told['rate']:.3g} voxels/s made and {amount(told['copy_rate'])}/s written, measured now"
    spent = f"about {hours} in one process on {told['device']} ({rates}), without the self-check"
    room = f"{amount(told['memory_bytes'])} of memory; --array divides the work into up to {told['parts']} parts"
    return "\n".join([what, f"{data} ({files})", spent, room])


def amount(count: float) -> str:
    """Return bytes in words."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"
