"""Settings of augmentation: the probability and range of each operation.

Each operation is applied independently with its probability, and its parameters are uniform in
its range. The defaults cover what varies in a department anyway: position, exposure and
detector. Stronger changes are off: flip, elastic, CLAHE, histogram equalisation, erasing.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulmospark.config.base import Fraction, Settings


class RotationSettings(Settings):
    """Rotate the image about its centre."""

    probability: Fraction = 0.5
    """probability of applying it"""
    degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 7.0
    """largest angle, to either side"""


class ShiftSettings(Settings):
    """Translate the image, independently in each direction."""

    probability: Fraction = 0.5
    """probability of applying it"""
    share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.04
    """largest shift, to either side, as a share of the side"""


class ZoomSettings(Settings):
    """Enlarge or shrink the image about its centre."""

    probability: Fraction = 0.5
    """probability of applying it"""
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.08
    """0.08: from 1/1.08 to 1.08 times, evenly on a logarithmic scale"""


class ShearSettings(Settings):
    """Shear the image sideways, like a patient who leans."""

    probability: Fraction = 0.2
    """probability of applying it"""
    degrees: Annotated[float, Field(ge=0.0, le=45.0)] = 3.0
    """largest angle, to either side"""


class FlipSettings(Settings):
    """Swap left and right: the heart then lies on the other side, as in almost no real image."""

    probability: Fraction = 0.0
    """probability of applying it"""


class BrightnessSettings(Settings):
    """Make the image brighter or darker by a number of grey levels."""

    probability: Fraction = 0.5
    """probability of applying it"""
    share: Fraction = 0.08
    """largest change, up or down, as a share of all 255 levels"""


class ContrastSettings(Settings):
    """Stretch or squeeze the grey levels about the image's mean."""

    probability: Fraction = 0.5
    """probability of applying it"""
    share: Annotated[float, Field(ge=0.0, le=9.0)] = 0.15
    """0.15: from 1/1.15 to 1.15 times, evenly on a logarithmic scale"""


class GammaSettings(Settings):
    """Raise the grey levels, from 0 to 1, to a power: another exposure or display curve."""

    probability: Fraction = 0.5
    """probability of applying it"""
    share: Annotated[float, Field(ge=0.0, le=9.0)] = 0.15
    """0.15: powers from 1/1.15 to 1.15, evenly on a logarithmic scale"""


class NoiseSettings(Settings):
    """Add normal noise to each pixel, as a lower dose would."""

    probability: Fraction = 0.2
    """probability of applying it"""
    sigma: Annotated[float, Field(ge=0.0, le=128.0)] = 3.0
    """largest standard deviation, grey levels of 255"""


class BlurSettings(Settings):
    """Blur with a Gaussian, as a larger focus or a slight movement would."""

    probability: Fraction = 0.1
    """probability of applying it"""
    sigma: Annotated[float, Field(ge=0.0, le=16.0)] = 0.7
    """largest standard deviation, pixels of the standard image"""


class ClaheSettings(Settings):
    """Contrast-limited adaptive histogram equalisation: local contrast, tile by tile."""

    probability: Fraction = 0.0
    """probability of applying it"""
    clip_limit: Annotated[float, Field(ge=1.0, le=40.0)] = 2.0
    """largest clip limit; sampled from 1 up to it"""
    tiles: Annotated[int, Field(ge=1, le=64)] = 8
    """tiles along a side"""


class EqualiseSettings(Settings):
    """Histogram equalisation of the whole image."""

    probability: Fraction = 0.0
    """probability of applying it; 1 equalises every image, as preprocessing"""


class ElasticSettings(Settings):
    """Deform the image by a smooth random field; ribs then bend as in no real patient."""

    probability: Fraction = 0.0
    """probability of applying it"""
    share: Annotated[float, Field(ge=0.0, le=0.2)] = 0.01
    """standard deviation of the displacement of the field's nodes, as a share of the side"""


class EraseSettings(Settings):
    """Random erasing: fill one rectangle with an even grey."""

    probability: Fraction = 0.0
    """how often it is drawn"""
    area: Annotated[float, Field(ge=0.02, le=1.0)] = 0.1
    """largest rectangle, as a share of the image; sampled from 0.02 up to it"""


class AugmentSettings(Settings):
    """Random augmentation of images, against overfitting."""

    rotation: RotationSettings = RotationSettings()
    """rotation"""
    shift: ShiftSettings = ShiftSettings()
    """translation"""
    zoom: ZoomSettings = ZoomSettings()
    """enlarge or shrink"""
    shear: ShearSettings = ShearSettings()
    """shearing"""
    flip: FlipSettings = FlipSettings()
    """swap left and right; off, because it moves the heart to the other side"""
    brightness: BrightnessSettings = BrightnessSettings()
    """brighter or darker"""
    contrast: ContrastSettings = ContrastSettings()
    """stretch or squeeze grey levels"""
    gamma: GammaSettings = GammaSettings()
    """another curve of grey levels"""
    noise: NoiseSettings = NoiseSettings()
    """normal noise"""
    blur: BlurSettings = BlurSettings()
    """Gaussian blur"""
    clahe: ClaheSettings = ClaheSettings()
    """local contrast; off"""
    equalise: EqualiseSettings = EqualiseSettings()
    """histogram equalisation; off"""
    elastic: ElasticSettings = ElasticSettings()
    """smooth deformation; off"""
    erase: EraseSettings = EraseSettings()
    """random erasing; off"""

    def warnings(self) -> tuple[str, ...]:
        """Warnings about these settings; usually none."""
        if not self.flip.probability:
            return ()
        return (
            f"augment.flip.probability is {self.flip.probability:g}: a flip moves the heart to "
            "the other side, unlike the images of the test split; 0 is the default",
        )
