"""The zoo's networks from papers, built here; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulmospark.models.zoo.entry import PLAIN, Builder, ZooEntry
from pulmospark.models.zoo.torchvision_entries import (
    MOBILENET_V2_STAGES,
    MOBILENET_V2_WEIGHTS,
    SMALL_TUNED,
)

if TYPE_CHECKING:
    from torch import nn

_BELMAN_LOPEZ = (
    "Belman-López, Detection of COVID-19 and Other Pneumonia Cases Using Convolutional Neural "
    "Networks and X-ray Images, 2022"
)
_BELMAN_LOPEZ_GUESSED = (
    "grey levels are divided by 255 and not standardised further",
    "convolutions without padding: the parameter count allows no other",
)


def _builder(name: str, **options: Any) -> Builder:
    def build() -> nn.Module:
        # Imported here, so that listing the networks does not import torch.
        from pulmospark.models.zoo import paper_networks  # noqa: PLC0415

        network: nn.Module = getattr(paper_networks, name)(**options)
        return network

    return build


_BASIC_CNN = ZooEntry(
    name="basic_cnn",
    title="basic CNN",
    builder=_builder("BasicCnn"),
    width=128,
    input_size=128,
    min_size=16,
    mean=(0.5,),
    std=(0.25,),
    source="Figure 1 of: Detecting COVID-19 in Chest X-Ray Images Using Apache Spark and CNN",
    backbone_parameters=155_704,
    outputs=2,
    stages=(
        *((f"convolutions.{number}",) for number in range(4)),
        ("fully_connected",),
    ),
    guessed=(
        "four convolutions of 3 x 3 with 8, 16, 32 and 64 filters, batch normalisation, an "
        "average over a grid of 4 x 4, a fully connected layer of 128: the figure has no numbers",
    ),
    fine_tuning=PLAIN,
)

_BELMAN_LOPEZ_BINARY = ZooEntry(
    name="belman_lopez_2022_binary",
    title="Belman-López CNN, two classes",
    builder=_builder("BelmanLopezCnn", filters=(32, 32, 64, 64, 128, 128), flat=128),
    width=512,
    input_size=200,
    min_size=200,
    max_size=200,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    source=_BELMAN_LOPEZ,
    backbone_parameters=353_056,
    outputs=1,
    single_logit=True,
    classes=2,
    stages=(*((f"convolutions.{3 * number}",) for number in range(6)), ("dense",)),
    guessed=_BELMAN_LOPEZ_GUESSED,
    fine_tuning=PLAIN,
)

_BELMAN_LOPEZ_4CLASS = ZooEntry(
    name="belman_lopez_2022_4class",
    title="Belman-López CNN, four classes",
    builder=_builder("BelmanLopezCnn", filters=(32, 64, 64, 128, 128), flat=128 * 4 * 4),
    width=512,
    input_size=200,
    min_size=200,
    max_size=200,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    source=_BELMAN_LOPEZ,
    backbone_parameters=1_326_848,
    outputs=4,
    stages=(*((f"convolutions.{3 * number}",) for number in range(5)), ("dense",)),
    guessed=(*_BELMAN_LOPEZ_GUESSED, "dropout of 0.5 as in the network for two classes"),
    fine_tuning=PLAIN,
)

_MOBILENET_V2_MODIFIED = ZooEntry(
    name="mobilenet_v2_modified",
    title="modified MobileNetV2",
    builder=_builder("ModifiedMobileNetV2"),
    width=128,
    source="Akter et al., COVID-19 Detection Using Deep Learning Algorithm on Chest X-ray "
    "Images, 2021",
    backbone_parameters=4_158_336,
    outputs=2,
    stages=(*MOBILENET_V2_STAGES, ("added",)),
    weights=MOBILENET_V2_WEIGHTS,
    replaced=("classifier.",),
    added=("added.",),
    frozen_stages=len(MOBILENET_V2_STAGES),
    guessed=(
        "every added convolution has 128 filters and a ReLU behind it",
        "dropout of 0.2 behind each of the seven small convolutions",
        "strides of 1 and no skip connections: the paper names strides of 2 and calls the small "
        "convolutions residual, and does not say how either goes with its pooling",
        "maps keep their size in a convolution, and pooling of 2 x 2 rounds up, so that the "
        "map of 7 x 7 lasts (7, 4, 2, 1, then 1)",
        "the last map is averaged before the output layer",
    ),
    fine_tuning=SMALL_TUNED,
)

PAPER_ENTRIES = (
    _BASIC_CNN,
    _BELMAN_LOPEZ_BINARY,
    _BELMAN_LOPEZ_4CLASS,
    _MOBILENET_V2_MODIFIED,
)
