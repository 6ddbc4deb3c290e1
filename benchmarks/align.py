"""Every figure of alignment on one machine in one run: the methods and the registrars of others on the same sections.

    python benchmarks/align.py --data FOLDER [--quick] [--long] [--only NAMES] [--seeds 3] [--pairs 4] [--json FILE]

Pairs: neighbouring ssTEM sections of 256 x 256 px, a known warp of 3.3 px on average. EPE: a section against itself
under that warp, independent noise in both. EqE: real neighbours, by how much the answer does not follow the warp.
Folds: of all answers. CPC: of a section pulled onto its neighbour. The same at 512 x 512 px with smoother warps, and
the seconds of one pair of 1024 x 1024 px.

Stack: every second section of an isotropic volume along --axis (250 px wide, less a rim of 8), each shifted (deviation
2 px), turned (0.3 degrees) and warped (1 px) independently. Along x milling moves all sections alike: they lie right by
themselves. Residual before and after alignment, without what is smooth along the axis and in plane; PSNR to the
unjittered stack moved along with that smooth part; CPC. What has no way with stacks of its own is chained: its answers
to the three sections before each (to one, and in one stack only, where it is slow), smoothed by 0, 24 or 40 px, go
through one anchored least-squares solve, and the best of the three counts. Harm: mean displacement of the unjittered
stack, or the middle of it. Wobble: what of that is fast.

``--long``: 1024 x 1024 x 64 wall time against elastix, and memory at 64 and 512 sections.
What is not installed, or has no weights yet, is one printed line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align_cases import (
    MARGIN_PX,
    SMOOTH,
    WARP,
    Field,
    Image,
    Pair,
    Stack,
    couples,
    harm,
    left,
    pairs,
    pulled,
    solved,
    stack,
    wobble,
)
from align_long import memory, wall_time
from align_ours import ours
from align_peers import PEERS, Answers, Pairs, Peer
from scipy.ndimage import gaussian_filter

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.metrics.registration import (
    cpc,
    end_point_error,
    equivariance_error,
    folds,
    stack_cpc,
    stack_residual,
)

REACH = 3
SMOOTHED_PX = (0.0, 24.0, 40.0)
HARM_SECTIONS = 12
COLUMNS = {
    "epe": "EPE px", "eqe": "EqE px", "folds": "folds %", "cpc": "CPC", "seconds": "s", "cpu": "CPU s",
    "before": "residual before px", "after": "residual after px",
    "undone": "beside its own wobble px", "smoothed": "smoothed px",
    "stack_folds": "stack folds %", "psnr": "PSNR dB", "stack_cpc": "stack CPC", "harm": "harm px",
    "wobble": "wobble px",
    "stack_seconds": "stack s", "stack_cpu": "stack CPU s",
}  # fmt: skip
Rows = dict[str, dict[str, list[float]]]


def asked(peer: Peer, questions: Pairs, threads: int) -> Answers:
    """Return a registrar's answers, one after another."""
    if peer.batch is not None:
        return peer.batch(questions, threads)
    assert peer.pair is not None
    fields, seconds, cpu = [], [], []
    for moving, fixed in questions:
        started, busy = time.perf_counter(), time.process_time()
        fields.append(peer.pair(moving, fixed))
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    return Answers(fields, seconds, cpu)


def score_pairs(peer: Peer, cases: Sequence[Pair], threads: int) -> dict[str, list[float]]:
    """Return figures of every pair."""
    found = asked(peer, [q for case in cases for q in case.asked], threads)
    row: dict[str, list[float]] = {c: [] for c in ("epe", "eqe", "folds", "cpc")}
    for i, case in enumerate(cases):
        itself, u_0, u_g = found.fields[3 * i : 3 * i + 3]
        row["epe"].append(end_point_error(itself, case.warp, MARGIN_PX))
        row["eqe"].append(equivariance_error(u_g, u_0, case.warp, MARGIN_PX))
        row["folds"] += [100 * folds(u) for u in (itself, u_0, u_g)]
        m = slice(MARGIN_PX, -MARGIN_PX)
        row["cpc"].append(cpc(pulled(case.moving, u_0)[m, m], case.fixed[m, m]))
    return row | {"seconds": found.seconds, "cpu": found.cpu}


def stack_answers(peer: Peer, sections: Image, threads: int) -> dict[float, Field]:
    """Return [z, 2, y, x] for every smoothing of the pairwise answers; only 0 where the stack is aligned as a whole."""
    if peer.stack is not None:
        return {0.0: peer.stack(sections)}
    if peer.name == "none":
        return {0.0: np.zeros((len(sections), 2, *sections.shape[1:]), np.float32)}
    which = couples(len(sections), 1 if peer.slow else REACH)
    values = sections.astype(np.float32)
    fields = asked(peer, [(values[z], values[n]) for z, n in which], threads).fields
    out = {}
    for sigma in SMOOTHED_PX:
        smooth = [gaussian_filter(u, (0, sigma, sigma)) if sigma else u for u in fields]
        out[sigma] = solved(dict(zip(which, smooth, strict=True)), len(sections))
    return out


def score_stack(peer: Peer, case: Stack, threads: int) -> dict[str, list[float]]:
    """Return figures of one stack; of the smoothings the one that leaves least."""
    started, busy = time.perf_counter(), sum(os.times()[:4])
    answers = stack_answers(peer, case.jittered, threads)
    seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - busy
    rest = {s: stack_residual(u, case.known, MARGIN_PX) for s, u in answers.items()}
    best = min(rest, key=rest.__getitem__)
    return {
        **{name: [value] for name, value in left(case, answers[best]).items()},
        "smoothed": [best],
        **on_the_unjittered(peer, case, answers[best], best, threads),
        "stack_seconds": [seconds],
        "stack_cpu": [cpu],
    }


def exact(case: Stack, sections: Image) -> Field:
    """Return the inverse of what is known, [z, 2, y, x]: what pulling twice costs, with nothing left to find."""
    out = -case.known[: len(sections)]
    for _ in range(8):
        out = -np.stack([[pulled(c, u) for c in k] for k, u in zip(case.known[: len(sections)], out, strict=True)])
    return out


def on_the_unjittered(peer: Peer, case: Stack, applied: Field, sigma: float, threads: int) -> dict[str, list[float]]:
    """Return how far the unjittered stack is moved, and what is left of the jitter beside that; px.

    Slow registrars are asked about the middle of it alone, so that only the first is known of them.
    """
    first = max(0, (len(case.truth) - HARM_SECTIONS) // 2) if peer.slow else 0
    last = first + HARM_SECTIONS if peer.slow else len(case.truth)
    alone = stack_answers(peer, case.truth[first:last], threads)[sigma]
    out = {"harm": [harm(alone)], "wobble": [wobble(alone)]}
    if not peer.slow:
        out["undone"] = [stack_residual(applied, case.known, MARGIN_PX, alone=alone)]
    return out


def each(peers: Sequence[Peer], score: Callable[[Peer], dict[str, list[float]]], rows: Rows) -> None:
    """Add every registrar's figures to the rows; one that fails says so and is left out."""
    for peer in peers:
        try:
            found = score(peer)
        except RuntimeError as error:
            print(f"{peer.name}: {error}", flush=True)
            continue
        row = rows.setdefault(peer.name, {})
        for column, values in found.items():
            row.setdefault(column, []).extend(float(v) for v in values)
        print(f"  {peer.name}: " + ", ".join(f"{c} {np.mean(v):.3f}" for c, v in found.items()), flush=True)


def table(title: str, rows: Rows) -> None:
    """Print mean +- deviation as a Markdown table."""
    columns = [c for c in COLUMNS if any(c in row for row in rows.values())]
    print(f"\n**{title}**\n\n| method | " + " | ".join(COLUMNS[c] for c in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(_cell(row.get(c, [])) for c in columns) + " |", flush=True)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}" if np.mean(values) >= 0.1 else f"{np.mean(values):.3f}{spread}"


def speed(peers: Sequence[Peer], data: Path, threads: int) -> Rows:
    """Return seconds of one 1024 x 1024 px pair; everything loaded."""
    import tifffile

    sections = tifffile.imread(data / "vnc_sstem_eval.tif")[9:11, :1024, :1024].astype(np.float32)
    small = sections[:, :128, :128]

    def score(peer: Peer) -> dict[str, list[float]]:
        found = asked(peer, [(small[1], small[0]), (sections[1], sections[0])], threads)
        return {"seconds": found.seconds[1:], "cpu": found.cpu[1:]}

    rows: Rows = {}
    each(peers, score, rows)
    return rows


def measure_pairs(
    peers: Sequence[Peer],
    data: Path,
    what: tuple[int, int, Distortion],
    seeds: range,
    threads: int,
    keep: Callable[[Rows], None],
) -> None:
    """Score ``what`` = (pairs a seed, edge px, warp) of every seed; print the table."""
    rows: Rows = {}
    count, edge, kind = what
    for seed in seeds:
        cases = pairs(data, count, edge, kind, seed)
        each(peers, partial(score_pairs, cases=cases, threads=threads), rows)
        keep(rows)
    table(f"Pairs of {edge} x {edge} px, {count} x {len(seeds)}", rows)


def measure_stacks(
    peers: Sequence[Peer], data: Path, what: tuple[int, int], seeds: range, threads: int, keep: Callable[[Rows], None]
) -> None:
    """Score a stack of ``what`` = (sections, axis) of every seed; print the table."""
    rows: Rows = {}
    for seed in seeds:
        case = stack(data, what[0], seed, what[1])
        m = slice(MARGIN_PX, -MARGIN_PX)
        rows.setdefault("unjittered", {}).setdefault("stack_cpc", []).append(stack_cpc(case.truth[:, m, m]))
        best = score_stack(Peer("exact inverse", "", stack=partial(exact, case)), case, threads)
        kept = {c: v for c, v in best.items() if c in ("before", "after", "psnr", "stack_cpc")}
        each([Peer("exact inverse", "")], lambda _, kept=kept: kept, rows)  # type: ignore[misc]
        asked_now = [p for p in peers if seed == 0 or not p.slow]
        each(asked_now, partial(score_stack, case=case, threads=threads), rows)
        keep(rows)
    size = " x ".join(map(str, case.truth.shape))
    table(f"Stacks of {size} along {'zyx'[what[1]]}, {len(seeds)}", rows)


def chosen(only: str, device: str) -> list[Peer]:
    """Return the registrars to be measured; say which are not there."""
    out = []
    for peer in (*PEERS, *ours(device)):
        if only and peer.name not in only.split(","):
            continue
        if peer.missing:
            print(f"{peer.name}: {peer.needs} is not installed, left out (pip install napari-emsynth[bench])")
        else:
            out.append(peer)
    return out


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the eval volumes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=4, help="pairs a seed")
    parser.add_argument("--smooth", type=int, default=1, help="pairs a seed of 512 x 512 px")
    parser.add_argument("--sections", type=int, default=32)
    parser.add_argument("--axis", choices="zyx", default="x", help="along which sections of a stack are taken")
    parser.add_argument("--only", default="", help="names as in the table, with commas")
    parser.add_argument("--parts", default="pairs,smooth,speed,stack")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="one seed, one pair, twelve sections")
    parser.add_argument("--long", action="store_true", help="also 1024 x 1024 x 64, and memory")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print and save as it goes."""
    options = parsed()
    parts = options.parts.split(",")
    if options.quick:
        options.seeds, options.pairs, options.smooth, options.sections = 1, 1, 0, 12
    torch.set_num_threads(options.threads)
    peers, seeds, data, threads = (
        chosen(options.only, options.device),
        range(options.seeds),
        options.data,
        options.threads,
    )
    result: dict[str, Any] = {"arguments": {k: str(v) for k, v in vars(options).items()}}

    def keep(part: str, figures: Any) -> None:
        # After every step: a run takes long, and what is measured is measured.
        result[part] = figures
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    for part, edge, kind, count in (("pairs", 256, WARP, options.pairs), ("smooth", 512, SMOOTH, options.smooth)):
        if part in parts and count:
            measure_pairs(peers, data, (count, edge, kind), seeds, threads, partial(keep, part))
    if "speed" in parts:
        keep("speed", speed(peers, data, threads))
        table("One pair of 1024 x 1024 px", result["speed"])
    if "stack" in parts:
        what = (options.sections, "zyx".index(options.axis))
        measure_stacks(peers, data, what, seeds, threads, partial(keep, "stack"))
    if options.long:
        keep("long", wall_time(data, peers, threads))
        keep("memory", memory(peers, options.device))


if __name__ == "__main__":
    main()
