"""From a stack to one displacement a section: who is held against whom, and in what order.

Pairs (:attr:`Registrar.how` "pairs"): every section is registered onto the ``neighbours`` nearest usable ones before
it, each pair by itself, and the stack solver (:mod:`.solve`) explains all answers together, window by window along z.

Chain: every section is registered onto the ``neighbours`` nearest ones that are aligned already, outwards from the
reference (the middle of the stack unless one is given), as the papers that build stacks so do it.

Laws: damaged sections and failed pairs change nothing for the others; a reference section stays; nothing is moved
further than the limit; memory holds a few sections, and the fields' nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.alignment import Alignment, PairReport
from napari_emsynth.methods.align.constraints import TEARS, Constraints
from napari_emsynth.methods.align.pair import Nodes, Verdict, compare
from napari_emsynth.methods.align.params import FieldParams, SolvedParams
from napari_emsynth.methods.align.report import section_reports
from napari_emsynth.methods.align.sections import Sections
from napari_emsynth.methods.align.solve import Measured, Solution, left_alone, solve
from napari_emsynth.methods.request import Request
from napari_emsynth.spec import no_progress
from napari_emsynth.trust.detect import RELIABLE, Kind, examine
from napari_emsynth.trust.features import Features
from napari_emsynth.trust.intact import MOST
from napari_emsynth.volume import Float

# Sections solved together, and how many of them only lend support on either side.
WINDOW, SUPPORT = 48, 16
# Weights of the neighbours in a chain, the nearest first; farther ones are halved again.
CHAIN_WEIGHTS = (1.0, 0.5, 0.33)
# What is left out unless the user says otherwise. Displaced and repeated sections can be aligned; so can blurred ones.
LEFT_OUT: tuple[Kind, ...] = ("blank", "saturated", "half-missing")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is known before anything is registered.

    Args:
        request: volume, method, and how to compute.
        constraints: limits.
        nodes: of the fields, along y and x.
        skipped: why sections are left out.
        features: of every section; for the shifts between them.
    """

    request: Request
    constraints: Constraints
    nodes: Nodes
    skipped: dict[int, str]
    features: Sequence[Features]

    @classmethod
    def of(cls, request: Request, constraints: Constraints) -> Plan:
        """Look the stack over once.

        Raises:
            InputError: constraints that do not fit the volume.
        """
        constraints.check(request.volume)
        suspects, features = examine(request.volume, cancel=request.runtime.cancel)
        if constraints.skip is None:
            skipped = {s.section: f"{s.kind}: {s.detail}" for s in suspects if s.kind in LEFT_OUT}
            skipped = {z: why for z, why in skipped.items() if z not in constraints.reference}
            if len(skipped) > MOST * request.volume.shape[0]:
                # As good as certainly a false alarm.
                skipped = {}
        else:
            skipped = dict.fromkeys(constraints.skip, "left out as asked")
        return cls(request, constraints, nodes_of(request), skipped, features)

    @property
    def params(self) -> FieldParams:
        """The method's."""
        assert isinstance(self.request.params, FieldParams)
        return self.request.params

    @property
    def count(self) -> int:
        """Sections of the stack."""
        return int(self.request.volume.shape[0])

    @property
    def usable(self) -> list[int]:
        """Sections that are not left out."""
        return [z for z in range(self.count) if z not in self.skipped]

    @property
    def node_px(self) -> tuple[float, float]:
        """Distance of the nodes, px."""
        _, y, x = self.request.volume.shape
        return y / self.nodes[0], x / self.nodes[1]

    def shift(self, section: int, onto: int) -> tuple[float, float]:
        """Return the shift (dy, dx) px of a section against an earlier one, 0 where it cannot be told."""
        if section < onto:
            dy, dx = self.shift(onto, section)
            return -dy, -dx
        for match in self.features[section].matches:
            if match.step == section - onto and match.quality >= RELIABLE:
                return match.dy, match.dx
        return 0.0, 0.0

    def displacement(self, data: Float) -> Displacement:
        """Return nodes [z, 2, y', x'] of all sections, or of some, as their field, no vector beyond the limit."""
        grid = self.request.volume.grid
        field = Displacement(data, (len(data), *grid.shape[1:]), grid.voxel_nm)
        limit = self.constraints.max_displacement_nm
        return field if limit is None else field.limited(limit)


def nodes_of(request: Request) -> Nodes:
    """Return how many nodes a method's fields have on a volume, along y and x."""
    assert isinstance(request.params, FieldParams)
    step = request.params.step_px
    return math.ceil(request.volume.shape[1] / step), math.ceil(request.volume.shape[2] / step)


def estimate(request: Request, constraints: Constraints) -> Alignment:
    """Find out how every section of a stack must be pulled.

    Args:
        request: of a method that answers with displacements.
        constraints: limits.

    Raises:
        InputError: constraints that do not fit the volume; parameters or weights that cannot be used.
        Cancelled: after ``request.runtime.cancel``.
    """
    plan = Plan.of(request, constraints)
    how = request.built().how
    solution, pairs = _chained(plan) if how == "chain" else _solved(plan)
    data = _filled(solution.distortion, plan)
    field = plan.displacement(data)
    sections = section_reports(request, constraints, field, solution.confidence, pairs, plan.skipped)
    return Alignment(field=field, confidence=solution.confidence, sections=sections, pairs=tuple(pairs))


# ---------------------------------------------------------------------------------- pairs


def _solved(plan: Plan) -> tuple[Solution, list[PairReport]]:
    """Measure all pairs and solve."""
    assert isinstance(plan.params, SolvedParams)
    reports: list[PairReport] = []
    solution = _in_windows(plan, plan.params, _measured(plan), reports)
    return replace(solution, distortion=left_alone(solution.distortion, plan.params.leave_px)), reports


def partners(usable: Sequence[int], neighbours: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs (section, earlier one) to be measured, in the order of the stack."""
    for i, z in enumerate(usable):
        for onto in usable[max(0, i - neighbours) : i][::-1]:
            yield z, onto


def _measured(plan: Plan) -> Iterator[Verdict]:
    """Register all pairs."""
    runtime, method = plan.request.runtime, plan.request.built()
    sections = Sections(plan.request.volume, plan.constraints, keep=plan.params.neighbours + 1)
    quiet = replace(runtime, progress=no_progress)
    pairs = list(partners(plan.usable, plan.params.neighbours))
    for done, (z, onto) in enumerate(pairs):
        runtime.cancel.check()
        runtime.progress(done, len(pairs), f"registering section {z}")
        yield compare(method, sections[z], [sections[onto]], [1.0], plan.nodes, plan.shift(z, onto), quiet)


def _in_windows(
    plan: Plan, params: SolvedParams, verdicts: Iterator[Verdict], reports: list[PairReport]
) -> Solution:
    """Solve window after window as the pairs come in, and forget what is no longer needed.

    Args:
        plan: of the job.
        params: of the method.
        verdicts: in the order of the stack.
        reports: takes one report a pair.
    """
    solution = Solution.nothing(plan.count, plan.nodes)
    held: list[Measured] = []
    core = WINDOW - 2 * SUPPORT
    starts = range(0, max(plan.count - 2 * SUPPORT, 1), core)
    waiting = [(a, min(plan.count, a + WINDOW)) for a in starts]
    for verdict in verdicts:
        reports.append(verdict.report)
        while len(waiting) > 1 and verdict.report.section >= waiting[0][1]:
            _solve_window(plan, params, waiting.pop(0), held, solution)
            held = [m for m in held if m.onto >= waiting[0][0]]
        if verdict.measured is not None:
            held.append(verdict.measured)
    for window in waiting:
        _solve_window(plan, params, window, held, solution)
    return solution


def _solve_window(
    plan: Plan, params: SolvedParams, window: tuple[int, int], held: Sequence[Measured], solution: Solution
) -> None:
    """Solve the sections of a window and keep those in its core."""
    first, last = window
    inside = [m for m in held if m.onto >= first and m.section < last]
    if not inside:
        return
    fixed = [z - first for z in plan.constraints.reference if first <= z < last]
    found = solve(
        last - first,
        [replace(m, section=m.section - first, onto=m.onto - first) for m in inside],
        params.prior(plan.node_px),
        node_px=plan.node_px,
        fixed=fixed,
        stiffness=stiffness(plan, range(first, last)),
    )
    start = first if first == 0 else first + SUPPORT
    stop = last if last == plan.count else last - SUPPORT
    for z in range(start, stop):
        solution.distortion[z] = found.distortion[z - first]
        solution.confidence[z] = found.confidence[z - first]


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


# ---------------------------------------------------------------------------------- chain


def _chained(plan: Plan) -> tuple[Solution, list[PairReport]]:
    """Register section after section onto those that are aligned already, outwards from the reference."""
    solution, reports = Solution.nothing(plan.count, plan.nodes), list[PairReport]()
    start = _start(plan)
    still = sorted({start, *plan.constraints.reference})
    solution.confidence[still] = 1.0
    for z in still:
        solution.known[z] = True
    outwards = [z for z in plan.usable if z > start] + [z for z in plan.usable[::-1] if z < start]
    raw = Sections(plan.request.volume, plan.constraints, keep=plan.params.neighbours + 1)
    for done, z in enumerate(outwards):
        plan.request.runtime.cancel.check()
        plan.request.runtime.progress(done, len(outwards), f"registering section {z}")
        if z not in still:
            reports.append(_link(plan, z, start, raw, solution))
    return solution, reports


def _link(plan: Plan, z: int, start: int, raw: Sections, solution: Solution) -> PairReport:
    """Register one section onto aligned ones between it and the start, and keep its field."""
    towards = -1 if z > start else 1
    between = range(z + towards, start + towards, towards)
    aligned = [n for n in between if solution.known[n]][: plan.params.neighbours]
    weights = [
        CHAIN_WEIGHTS[k] if k < len(CHAIN_WEIGHTS) else CHAIN_WEIGHTS[-1] / 2 for k in range(len(aligned))
    ]
    fixed = [raw[n].moved_by(plan.displacement(solution.distortion[n : n + 1]).dense(0)) for n in aligned]
    runtime = replace(plan.request.runtime, progress=no_progress)
    known = plan.shift(z, aligned[0])
    by = solution.distortion[aligned[0]].mean(axis=(1, 2))
    shift = (known[0] + float(by[0]), known[1] + float(by[1])) if any(known) else (0.0, 0.0)
    verdict = compare(plan.request.built(), raw[z], fixed, weights, plan.nodes, shift, runtime)
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
