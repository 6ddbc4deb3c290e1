"""A chain: every section is registered onto the nearest ones that are aligned already, outwards from the reference.

It starts in the middle of the stack unless a reference is given, as the papers that build stacks so do it. Laws: the
two directions know nothing of each other, and are gone at once; a failed section is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from napari_emsynth.methods.align.dialogue import Dialogue, side_by_side
from napari_emsynth.methods.align.plan import Plan
from napari_emsynth.methods.align.stack.alignment import PairReport
from napari_emsynth.methods.align.stack.pair import compare
from napari_emsynth.methods.align.stack.sections import Sections
from napari_emsynth.methods.align.stack.solve import Solution
from napari_emsynth.trust.rules import RELIABLE

# Weights of the neighbours, the nearest first; farther ones are halved again.
CHAIN_WEIGHTS = (1.0, 0.5, 0.33)


def chained(plan: Plan) -> Dialogue[tuple[Solution, list[PairReport]]]:
    """Register section after section, in both directions from the start."""
    solution = Solution.nothing(plan.count, plan.nodes)
    start = _start(plan)
    still = sorted({start, *plan.constraints.reference})
    solution.confidence[still] = 1.0
    for z in still:
        solution.known[z] = True
    directions = [z for z in plan.usable if z > start], [z for z in plan.usable[::-1] if z < start]
    steps, runtime = count(), plan.request.runtime
    total = sum(len(sections) for sections in directions)

    def said(z: int) -> None:
        runtime.cancel.check()
        runtime.progress(next(steps), total, f"registering section {z}")

    there, back = yield from side_by_side([_outwards(plan, sections, start, solution, said) for sections in directions])
    return solution, there + back


def _outwards(
    plan: Plan, sections: list[int], start: int, solution: Solution, said: Callable[[int], None]
) -> Dialogue[list[PairReport]]:
    """Register the sections on one side of the start, the nearest first; those that stay are left as they are."""
    raw = Sections(plan.request.volume, plan.constraints, keep=plan.params.neighbours + 1)
    reports = []
    for z in sections:
        said(z)
        if z not in (start, *plan.constraints.reference):
            reports.append((yield from _link(plan, z, start, raw, solution)))
    return reports


def _link(plan: Plan, z: int, start: int, raw: Sections, solution: Solution) -> Dialogue[PairReport]:
    """Register one section onto aligned ones between it and the start, and keep its field."""
    towards = -1 if z > start else 1
    between = range(z + towards, start + towards, towards)
    aligned = [n for n in between if solution.known[n]][: plan.params.neighbours]
    weights = [CHAIN_WEIGHTS[k] if k < len(CHAIN_WEIGHTS) else CHAIN_WEIGHTS[-1] / 2 for k in range(len(aligned))]
    fixed = [raw[n].moved_by(plan.displacement(solution.distortion[n : n + 1]).dense(0)) for n in aligned]
    known = plan.shift(z, aligned[0])
    by = solution.distortion[aligned[0]].mean(axis=(1, 2))
    shift = (known[0] + float(by[0]), known[1] + float(by[1])) if any(known) else (0.0, 0.0)
    verdict = yield from compare(raw[z], fixed, weights, plan.nodes, shift)
    if verdict.measured is not None:
        solution.distortion[z] = verdict.measured.displacement
        solution.confidence[z] = verdict.measured.trust
        solution.known[z] = True
    return verdict.report


def _start(plan: Plan) -> int:
    """Return where a chain begins: the reference nearest to the middle, else the usable section nearest to it.

    Sections that lie on no other one, such as noise, are no place to begin, if there are any that do.
    """
    usable = set(plan.usable)
    matched = {
        z
        for section in usable
        for match in plan.features[section].matches
        if match.quality >= RELIABLE and section - match.step in usable
        for z in (section, section - match.step)
    }
    among = plan.constraints.reference or matched or usable or range(plan.count)
    return min(sorted(among), key=lambda z: abs(z - plan.count // 2))
