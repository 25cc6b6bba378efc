"""Settings of ingest: how a file becomes the standard image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pulmospark.config.base import Settings
from pulmospark.core import limits
from pulmospark.core.locations import LocalPath


class IngestSettings(Settings):
    """From files to the images table."""

    size: Annotated[int, Field(ge=limits.STANDARD_SIZE_MIN, le=limits.STANDARD_SIZE_MAX)] = 224
    """side of the standard image, pixels"""
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    """how an image that is not square becomes square; the published papers stretch"""
    equalise: bool = False
    """equalise each image's histogram, as preprocessing in training, testing and prediction"""
    ct_window: Literal["lung", "soft", "header"] = "lung"
    """of CT slices from DICOM: ``lung`` (centre -600, width 1500 Hounsfield units), ``soft``
    (40, 400), or the first window in the header"""
    salt_path: LocalPath | None = None
    """file with the secret that patient, study and series numbers of DICOM headers are hashed
    with; ``None``: a random one, created once per run. Give one to recognise patients in another
    run"""
    body_parts: Literal["chest", "any"] = "chest"
    """``chest``: reject a DICOM file whose header names another part of the body; ``any``: read
    it like the others. A header without this entry is accepted"""
    guess_view: Literal["off", "axial", "all"] = "off"
    """whether a view that neither header nor sheet states is guessed from pixels: not at all; CT
    slices only; or also lateral views. Guessed images are then excluded like others of that view.
    Off, because on other data the guess misses most of them, and mistakes some frontal views for
    lateral ones, mainly those with one white lung; either way the audit ``guessed_views`` shows
    the images"""
    crop: Literal["none", "lungs"] = "none"
    """crop each image to the lungs with a margin, found by a simple method, so that what lies at
    the border of an image cannot predict the class"""
