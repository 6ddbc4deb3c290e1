"""Register pairs by elastix, B-splines of 16 px, normalised correlation and bending energy; called by ``align.py``.

    python benchmarks/align_elastix.py PAIRS.npz FIELDS.npz [--threads 1]

PAIRS holds m0, f0, m1, f1, ... (moving and fixed, [y, x] float32); FIELDS gets u0, u1, ... ([2, y, x] (dy, dx) px)
and the seconds each took, on the clock and of the processor.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import itk
import numpy as np

# Of spacings of 8 to 24 px, bending weights of 2 to 1000 and 200 to 500 iterations, tried on training data, the best.
SPACING_PX = "16"
BENDING = "100"


def parameters() -> Any:
    """Return the parameter maps: an affine start, then the splines."""
    both = itk.ParameterObject.New()
    start = itk.ParameterObject.GetDefaultParameterMap("affine", 3)
    start["Metric"] = ["AdvancedNormalizedCorrelation"]
    start["MaximumNumberOfIterations"] = ["100"]
    splines = itk.ParameterObject.GetDefaultParameterMap("bspline", 3)
    splines["Registration"] = ["MultiMetricMultiResolutionRegistration"]
    splines["Metric"] = ["AdvancedNormalizedCorrelation", "TransformBendingEnergyPenalty"]
    splines["Metric0Weight"], splines["Metric1Weight"] = ["1"], [BENDING]
    splines["FinalGridSpacingInPhysicalUnits"] = [SPACING_PX]
    splines["MaximumNumberOfIterations"] = ["300"]
    splines["NumberOfSpatialSamples"] = ["4096"]
    for stage in (start, splines):
        stage["AutomaticTransformInitialization"] = ["false"]
        stage["WriteResultImage"] = ["false"]
        both.AddParameterMap(stage)
    return both


def register(moving: np.ndarray, fixed: np.ndarray, threads: int) -> np.ndarray:
    """Return [2, y, x] (dy, dx) px, pull."""
    images = [itk.image_from_array(np.ascontiguousarray(i, np.float32)) for i in (fixed, moving)]
    _, found = itk.elastix_registration_method(
        *images, parameter_object=parameters(), number_of_threads=threads, log_to_console=False
    )
    field = itk.transformix_deformation_field(images[1], found)
    return np.moveaxis(itk.array_from_image(field), -1, 0)[::-1].astype(np.float32)


def main() -> None:
    """Register all pairs of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(options.threads)
    with np.load(options.pairs) as pairs:
        count, out = len(pairs.files) // 2, {}
        seconds: list[list[float]] = []
        for i in range(count):
            started = np.array((time.perf_counter(), time.process_time()))
            out[f"u{i}"] = register(pairs[f"m{i}"], pairs[f"f{i}"], options.threads)
            seconds.append([*(np.array((time.perf_counter(), time.process_time())) - started)])
    wall, cpu = np.array(seconds).T
    np.savez(options.fields, seconds=wall, cpu=cpu, **out)


if __name__ == "__main__":
    main()
