"""Settings of augmentation: how often each operation is drawn, and how far it goes.

Each operation is drawn for itself, with its own probability, and its parameters uniformly
from its range. The defaults are what happens to a film in a department anyway: another
position, exposure and detector. What changes more than that is off: flip, elastic, CLAHE,
histogram equalisation, erasing.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulmospark.core.settings_base import Fraction, Settings


class RotationSettings(Settings):
    """Turn the film about its middle."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 7.0
    """furthest turn, to either side"""


class ShiftSettings(Settings):
    """Move the film, each way for itself."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.04
    """furthest move, to either side, as a share of the side"""


class ZoomSettings(Settings):
    """Enlarge or shrink the film about its middle."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.08
    """0.08: from 1/1.08 to 1.08 times, evenly on a logarithmic scale"""


class ShearSettings(Settings):
    """Lean the film to a side, as a patient does who does not stand straight."""

    probability: Fraction = 0.2
    """how often it is drawn"""
    degrees: Annotated[float, Field(ge=0.0, le=45.0)] = 3.0
    """furthest lean, to either side"""


class FlipSettings(Settings):
    """Swap left and right: the heart then lies on the other side, as in no real film."""

    probability: Fraction = 0.0
    """how often it is drawn"""


class BrightnessSettings(Settings):
    """Make the film brighter or darker by a number of grey levels."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    share: Fraction = 0.08
    """furthest step, up or down, as a share of all 255 levels"""


class ContrastSettings(Settings):
    """Stretch or squeeze the grey levels about the film's mean."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    share: Annotated[float, Field(ge=0.0, le=9.0)] = 0.15
    """0.15: from 1/1.15 to 1.15 times, evenly on a logarithmic scale"""


class GammaSettings(Settings):
    """Raise the grey levels, from 0 to 1, to a power: another exposure or display curve."""

    probability: Fraction = 0.5
    """how often it is drawn"""
    share: Annotated[float, Field(ge=0.0, le=9.0)] = 0.15
    """0.15: powers from 1/1.15 to 1.15, evenly on a logarithmic scale"""


class NoiseSettings(Settings):
    """Add normal noise to each pixel, as a lower dose would."""

    probability: Fraction = 0.2
    """how often it is drawn"""
    sigma: Annotated[float, Field(ge=0.0, le=128.0)] = 3.0
    """largest standard deviation, grey levels of 255"""


class BlurSettings(Settings):
    """Blur with a Gaussian, as a larger focus or a slight movement would."""

    probability: Fraction = 0.1
    """how often it is drawn"""
    sigma: Annotated[float, Field(ge=0.0, le=16.0)] = 0.7
    """largest standard deviation, pixels of the standard image"""


class ClaheSettings(Settings):
    """Contrast-limited adaptive histogram equalisation: local contrast, tile by tile."""

    probability: Fraction = 0.0
    """how often it is drawn"""
    clip_limit: Annotated[float, Field(ge=1.0, le=40.0)] = 2.0
    """largest clip limit; drawn from 1 up to it"""
    tiles: Annotated[int, Field(ge=1, le=64)] = 8
    """tiles along a side"""


class EqualiseSettings(Settings):
    """Histogram equalisation of the whole film."""

    probability: Fraction = 0.0
    """how often it is drawn; 1 equalises every film, which is preparation more than chance"""


class ElasticSettings(Settings):
    """Bend the film by a smooth random field; ribs then bend as they do in nobody."""

    probability: Fraction = 0.0
    """how often it is drawn"""
    share: Annotated[float, Field(ge=0.0, le=0.2)] = 0.01
    """standard deviation of the displacement of the field's nodes, as a share of the side"""


class EraseSettings(Settings):
    """Random erasing: one rectangle becomes an even grey, and with it what was to be seen."""

    probability: Fraction = 0.0
    """how often it is drawn"""
    area: Annotated[float, Field(ge=0.02, le=1.0)] = 0.1
    """largest rectangle, as a share of the film; drawn from 0.02 up to it"""


class AugmentSettings(Settings):
    """How films are changed by chance, so that a model does not learn them by heart."""

    rotation: RotationSettings = RotationSettings()
    """turn"""
    shift: ShiftSettings = ShiftSettings()
    """move"""
    zoom: ZoomSettings = ZoomSettings()
    """enlarge or shrink"""
    shear: ShearSettings = ShearSettings()
    """lean"""
    flip: FlipSettings = FlipSettings()
    """swap left and right; off, for it moves the heart to the other side"""
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
    """smooth bending; off"""
    erase: EraseSettings = EraseSettings()
    """random erasing; off"""

    def warnings(self) -> tuple[str, ...]:
        """What a person should know before he uses these settings; mostly nothing."""
        if not self.flip.probability:
            return ()
        return (
            f"augment.flip.probability is {self.flip.probability:g}: a flip moves the heart to "
            "the other side, which no film of the test part shows; 0 is the default",
        )
