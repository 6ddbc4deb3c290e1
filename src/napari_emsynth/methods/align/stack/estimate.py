"""From a stack to one displacement a section: who is held against whom, and in what order.

Pairs (:attr:`Registrar.how` "pairs"): every section is registered onto the ``neighbours`` nearest usable ones before
it, each pair by itself, and the stack solver (:mod:`.solve`) explains all answers together, window by window along z.
Chain: see :mod:`.chain`. Either way what does not depend on each other is asked together, of several stacks too.

Laws: damaged sections and failed pairs change nothing for the others; a reference section stays; nothing is moved
further than the limit; stacks estimated together are estimated as each alone; memory holds a few sections, or as many
as are asked about together, and the fields' nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.methods.align.chain import chained
from napari_emsynth.methods.align.dialogue import Dialogue, held, side_by_side
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.plan import Plan
from napari_emsynth.methods.align.protocol import Joint
from napari_emsynth.methods.align.stack.alignment import Alignment, PairReport
from napari_emsynth.methods.align.stack.constraints import TEARS, Constraints
from napari_emsynth.methods.align.stack.pair import Nodes, Verdict, compare
from napari_emsynth.methods.align.stack.report import section_reports
from napari_emsynth.methods.align.stack.sections import Sections
from napari_emsynth.methods.align.stack.solve import Measured, Solution, left_alone, solve
from napari_emsynth.methods.request import Request
from napari_emsynth.spec import no_progress
from napari_emsynth.volume import Float

# Sections solved together, and how many of them only lend support on either side.
WINDOW, SUPPORT = 48, 16
# Pixels of sections that are asked about together, at most.
TOGETHER_PX = 1 << 22


def estimate(request: Request, constraints: Constraints) -> Alignment:
    """Find out how every section of a stack must be pulled.

    Args:
        request: of a method that answers with displacements.
        constraints: limits.

    Raises:
        InputError: constraints that do not fit the volume; parameters or weights that cannot be used.
        Cancelled: after ``request.runtime.cancel``.
    """
    (found,) = estimates([request], constraints)
    return found


def estimates(requests: Sequence[Request], constraints: Constraints) -> list[Alignment]:
    """Find out the same of several stacks at once.

    Args:
        requests: of one method, equal but for the volume.
        constraints: limits, the same for all.

    Raises:
        InputError: constraints that do not fit a volume; parameters or weights that cannot be used.
        Cancelled: after the requests' ``runtime.cancel``.
    """
    plans = [Plan.of(request, constraints) for request in requests]
    method, runtime = requests[0].built(), replace(requests[0].runtime, progress=no_progress)
    how = chained if method.how == "chain" else _solved
    found = held(side_by_side([how(plan) for plan in plans]), method, runtime)
    return [_told(plan, solution, pairs) for plan, (solution, pairs) in zip(plans, found, strict=True)]


def _told(plan: Plan, solution: Solution, pairs: Sequence[PairReport]) -> Alignment:
    """Return what was found, limits kept and sections left out filled in, with a report of every section."""
    request, constraints = plan.request, plan.constraints
    field = plan.displacement(_filled(solution.distortion, plan))
    sections = section_reports(request, constraints, field, solution.confidence, pairs, plan.skipped)
    return Alignment(field=field, confidence=solution.confidence, sections=sections, pairs=tuple(pairs))


# ---------------------------------------------------------------------------------- pairs


def _solved(plan: Plan) -> Dialogue[tuple[Solution, list[PairReport]]]:
    """Measure all pairs, so many at a time, and solve window by window as they come in."""
    assert isinstance(plan.params, SolvedParams)
    runtime, windows = plan.request.runtime, _Windows(plan, plan.params)
    sections = Sections(plan.request.volume, plan.constraints, keep=plan.params.neighbours + 1)
    pairs = list(partners(plan.usable, plan.params.neighbours))
    step = _together(plan)
    for first in range(0, len(pairs), step):
        runtime.cancel.check()
        runtime.progress(first, len(pairs), f"registering section {pairs[first][0]}")
        verdicts = yield from side_by_side(
            [
                compare(sections[z], [sections[onto]], [1.0], plan.nodes, plan.shift(z, onto))
                for z, onto in pairs[first : first + step]
            ]
        )
        for verdict in verdicts:
            windows.take(verdict)
    solution = windows.finished()
    return replace(solution, distortion=left_alone(solution.distortion, plan.params.leave_px)), windows.reports


def _together(plan: Plan) -> int:
    """Return how many pairs are asked about at once: one, of a method that answers them one after another anyway."""
    if not isinstance(plan.request.built(), Joint):
        return 1
    return max(1, TOGETHER_PX // (plan.request.volume.shape[1] * plan.request.volume.shape[2]))


def partners(usable: Sequence[int], neighbours: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs (section, earlier one) to be measured, in the order of the stack."""
    for i, z in enumerate(usable):
        for onto in usable[max(0, i - neighbours) : i][::-1]:
            yield z, onto


class _Windows:
    """Solves window after window as the pairs come in, in the order of the stack, and forgets what is not needed."""

    def __init__(self, plan: Plan, params: SolvedParams) -> None:
        self.plan, self.params = plan, params
        self.reports: list[PairReport] = []
        self._solution = Solution.nothing(plan.count, plan.nodes)
        self._held: list[Measured] = []
        starts = range(0, max(plan.count - 2 * SUPPORT, 1), WINDOW - 2 * SUPPORT)
        self._waiting = [(a, min(plan.count, a + WINDOW)) for a in starts]

    def take(self, verdict: Verdict) -> None:
        """Take one pair."""
        self.reports.append(verdict.report)
        while len(self._waiting) > 1 and verdict.report.section >= self._waiting[0][1]:
            self._solve(self._waiting.pop(0))
            self._held = [m for m in self._held if m.onto >= self._waiting[0][0]]
        if verdict.measured is not None:
            self._held.append(verdict.measured)

    def finished(self) -> Solution:
        """Solve what is left, and return everything."""
        for window in self._waiting:
            self._solve(window)
        return self._solution

    def _solve(self, window: tuple[int, int]) -> None:
        """Solve the sections of a window and keep those in its core."""
        (first, last), plan = window, self.plan
        inside = [m for m in self._held if m.onto >= first and m.section < last]
        if not inside:
            return
        found = solve(
            last - first,
            [replace(m, section=m.section - first, onto=m.onto - first) for m in inside],
            self.params.prior(plan.node_px),
            node_px=plan.node_px,
            fixed=[z - first for z in plan.constraints.reference if first <= z < last],
            stiffness=stiffness(plan, range(first, last)),
        )
        start = first if first == 0 else first + SUPPORT
        stop = last if last == plan.count else last - SUPPORT
        self._solution.distortion[start:stop] = found.distortion[start - first : stop - first]
        self._solution.confidence[start:stop] = found.confidence[start - first : stop - first]


def stiffness(plan: Plan, sections: range) -> Float | None:
    """Return [z, y', x'] how much of a spring is left at every node: none across folds and cracks."""
    if plan.constraints.materials is None:
        return None
    out = np.ones((len(sections), *plan.nodes), np.float32)
    for i, z in enumerate(sections):
        material = plan.constraints.material(z)
        if material is not None:
            out[i] = 1.0 - _touched(material == TEARS, plan.nodes)
    return out


def _touched(tears: Any, nodes: Nodes) -> Float:
    """Return [y', x'] 1 for nodes whose cell holds part of a tear, 0 for others."""
    out = np.zeros(nodes, np.float32)
    y, x = np.nonzero(tears)
    out[y * nodes[0] // tears.shape[0], x * nodes[1] // tears.shape[1]] = 1.0
    return out


# ---------------------------------------------------------------------------------- sections without an answer


def _filled(distortion: Float, plan: Plan) -> Float:
    """Return the fields with those of sections left out taken from their neighbours."""
    out = distortion.copy()
    usable = np.array(plan.usable)
    for z in plan.skipped:
        before, after = usable[usable < z], usable[usable > z]
        if before.size and after.size:
            a, b = int(before[-1]), int(after[0])
            t = (z - a) / (b - a)
            out[z] = (1 - t) * distortion[a] + t * distortion[b]
        elif usable.size:
            out[z] = distortion[int(before[-1]) if before.size else int(after[0])]
    for z in plan.constraints.reference:
        out[z] = 0.0
    return out
