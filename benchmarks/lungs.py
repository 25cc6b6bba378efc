"""The simple lung finder against masks that came with images: Dice, and what is covered."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.common import Options, Report, data_folder
from pulmospark.audit.occlusion import lung_region, lungs_of
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.imaging.lung_segmentation import find_lungs

SET = "COVID-19_Radiography_Dataset"


def measure(options: Options) -> Report:
    """Every image of the set that has a mask; one in twenty for a smoke test."""
    data = data_folder(options)
    if data is None:
        raise RuntimeError("the public data sets are needed: name their folder with --data")
    images = sorted((data / SET).glob("*/images/*.png"))[:: 20 if options.small else 1]
    dice, masks, all_found = [], [], []
    for path in images:
        image = read_image(str(path), IngestSettings())
        mask_file = path.parent.parent / "masks" / path.name
        if not isinstance(image, StandardImage) or cv2.imread(str(mask_file)) is None:
            continue
        pixels = image.pixels
        mask, found = lungs_of(pixels, str(mask_file)), find_lungs(pixels)
        dice.append(2 * (mask & found).sum() / max(mask.sum() + found.sum(), 1))
        masks.append(mask)
        all_found.append(found)
    region = lung_region(np.stack(all_found))
    covered = [(mask & region).sum() / max(mask.sum(), 1) for mask in masks]
    rows = [
        (name, f"{np.mean(told):.3f}", f"{np.quantile(told, 0.1):.3f}")
        for name, told in (
            ("Dice of the lungs found", dice),
            ("share of the lungs blacked out", covered),
        )
    ]
    return Report(
        name="lungs",
        title=f"Lungs found by the simple method, {len(dice)} images with masks",
        head=("figure", "mean", "worst tenth below"),
        rows=rows,
        notes=[f"{region.mean():.1%} of each image are blacked out"],
        figures={
            "images": len(dice),
            "dice": float(np.mean(dice)),
            "covered": float(np.mean(covered)),
            "region": float(region.mean()),
        },
    )
