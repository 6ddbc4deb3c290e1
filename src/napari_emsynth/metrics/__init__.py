"""Figures of merit: functions of arrays that return floats; nothing here reads files or knows methods."""

from napari_emsynth.metrics.image import bin2, coverage, psnr, psnr_binned, ssim
from napari_emsynth.metrics.membranes import membrane_segmentation
from napari_emsynth.metrics.registration import (
    cpc,
    end_point_error,
    equivariance_error,
    folds,
    mean_magnitude,
    stack_cpc,
    stack_residual,
)
from napari_emsynth.metrics.segmentation import adapted_rand, voi
from napari_emsynth.metrics.spectrum import band_power, mid_band_ratio, radial_power

__all__ = [
    "adapted_rand", "band_power", "bin2", "coverage", "cpc", "end_point_error", "equivariance_error", "folds",
    "mean_magnitude", "membrane_segmentation", "mid_band_ratio", "psnr", "psnr_binned", "radial_power", "ssim",
    "stack_cpc", "stack_residual", "voi",
]  # fmt: skip
