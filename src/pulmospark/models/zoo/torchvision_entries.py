"""The zoo's networks from torchvision; imports neither torch nor torchvision.

Parameter counts are those of torchvision's tables of weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulmospark.models.zoo.entry import (
    Builder,
    FlatMap,
    Recipe,
    Stages,
    WeightsFile,
    ZooEntry,
    hub_file,
)

if TYPE_CHECKING:
    from torch import nn

_HUB = "https://download.pytorch.org/models/"
_BSD = "BSD-3-Clause (torchvision)"
_ONNX_ZOO = "Apache-2.0 (ONNX model zoo)"

# DenseNet files from before torch 0.4 have a dot within layer names.
DENSENET_RENAMED = ((r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),)


def _builder(module: str, *cut: str, features_only: bool = False, **options: Any) -> Builder:
    """A builder: see :func:`pulmospark.models.zoo.backbones.torchvision_backbone`."""

    def build() -> nn.Module:
        # Imported here, so that listing the networks does not import torch.
        from pulmospark.models.zoo.backbones import torchvision_backbone  # noqa: PLC0415

        return torchvision_backbone(module, cut, features_only=features_only, **options)

    return build


def _numbered(stem: str, *stages: tuple[int, ...]) -> Stages:
    return tuple(tuple(f"{stem}.{number}" for number in stage) for stage in stages)


# Fine-tuning: each stage learns half as fast as the next, because the first ones detect edges,
# which images share with photographs. Small networks tolerate higher rates than large ones; those
# without batch norm (VGG19, SqueezeNet) diverge at the rates that the others need. Common
# practice, not tuned.
SMALL_TUNED = Recipe(1e-3, stage_factor=0.5)
_TUNED = Recipe(5e-4, stage_factor=0.5)
_UNNORMALISED_TUNED = Recipe(3e-4, stage_factor=0.5)
# 140 million parameters and large maps: smaller batches need less memory, and are harmless without
# batch norm.
_VGG_TUNED = Recipe(1e-4, stage_factor=0.5, batch_size=16)
_UNNORMALISED = Recipe(3e-4)
_VGG = Recipe(1e-4, batch_size=16)

MOBILENET_V2_WEIGHTS = (
    WeightsFile(
        "mobilenet_v2-imagenet1k-features.safetensors",
        "13c64ed2100c37264c01666747c488e37c8b9d981aadf1641d6d989d8c1060c4",
        licence=_ONNX_ZOO,
    ),
    hub_file(_HUB + "mobilenet_v2-b0353104.pth", _BSD),
)
MOBILENET_V2_STAGES = _numbered(
    "features", (0, 1), (2, 3), (4, 5, 6), tuple(range(7, 14)), tuple(range(14, 19))
)

_MOBILENET_V2 = ZooEntry(
    name="mobilenet_v2",
    title="MobileNetV2",
    builder=_builder("mobilenetv2.mobilenet_v2", "classifier"),
    width=1280,
    dropout=0.2,
    source="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018",
    backbone_parameters=2_223_872,
    stages=MOBILENET_V2_STAGES,
    weights=MOBILENET_V2_WEIGHTS,
    replaced=("classifier.",),
    flat_map=FlatMap(
        "mobilenet_v2_flattened",
        _builder("mobilenetv2.mobilenet_v2", features_only=True),
        width=1280 * 7 * 7,
        backbone_parameters=2_223_872,
    ),
    fine_tuning=SMALL_TUNED,
)

_SQUEEZENET1_1 = ZooEntry(
    name="squeezenet1_1",
    title="SqueezeNet 1.1",
    builder=_builder("squeezenet.squeezenet1_1", "classifier", pooled=True),
    width=512,
    dropout=0.5,
    source="Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and "
    "<0.5MB model size, 2016; version 1.1",
    backbone_parameters=722_496,
    stages=_numbered("features", (0,), (3, 4), (6, 7), (9, 10, 11, 12)),
    weights=(
        WeightsFile(
            "squeezenet1_1-imagenet1k.safetensors",
            "952016654f6ff674ea72ce71429ff86c5ea7a358ee31b2b4794545fbde5ac3b4",
            licence=_ONNX_ZOO,
        ),
        hub_file(_HUB + "squeezenet1_1-b8a52dc0.pth", _BSD),
    ),
    replaced=("classifier.",),
    flat_map=FlatMap(
        "squeezenet1_1_flattened",
        _builder("squeezenet.squeezenet1_1", "classifier"),
        width=512 * 13 * 13,
        backbone_parameters=722_496,
    ),
    fine_tuning=_UNNORMALISED_TUNED,
    from_scratch=_UNNORMALISED,
)

# Its deep features are the 4,096 of the second fully connected layer, as with every network
# whose last linear layer becomes the head; the map before them is the flattened variant.
_VGG19 = ZooEntry(
    name="vgg19",
    title="VGG19",
    builder=_builder("vgg.vgg19", "classifier.6"),
    width=4096,
    dropout=0.0,  # the network's dropout follows each fully connected layer
    source="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
    "Recognition, 2014",
    backbone_parameters=139_570_240,
    stages=(
        *_numbered(
            "features",
            (0, 2),
            (5, 7),
            (10, 12, 14, 16),
            (19, 21, 23, 25),
            (28, 30, 32, 34),
        ),
        ("classifier.0", "classifier.3"),
    ),
    weights=(hub_file(_HUB + "vgg19-dcbb9e9d.pth", _BSD),),
    replaced=("classifier.6.",),
    flat_map=FlatMap(
        "vgg19_flattened",
        _builder("vgg.vgg19", "classifier"),
        width=512 * 7 * 7,
        backbone_parameters=20_024_384,
        left_out=("classifier.",),
    ),
    fine_tuning=_VGG_TUNED,
    from_scratch=_VGG,
)

_RESNET50 = ZooEntry(
    name="resnet50",
    title="ResNet50",
    builder=_builder("resnet.resnet50", "fc"),
    width=2048,
    source="He et al., Deep Residual Learning for Image Recognition, 2015",
    backbone_parameters=23_508_032,
    stages=(("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)),
    weights=(
        hub_file(_HUB + "resnet50-0676ba61.pth", _BSD),
        hub_file(_HUB + "resnet50-11ad3fa6.pth", _BSD),
    ),
    replaced=("fc.",),
    flat_map=FlatMap(
        "resnet50_flattened",
        _builder("resnet.resnet50", "avgpool", "fc"),
        width=2048 * 7 * 7,
        backbone_parameters=23_508_032,
    ),
    fine_tuning=_TUNED,
)

_INCEPTION_V3 = ZooEntry(
    name="inception_v3",
    title="InceptionV3",
    # Its dropout is that of the network's head.
    builder=_builder(
        "inception.inception_v3", "dropout", "fc", aux_logits=False, init_weights=True
    ),
    width=2048,
    input_size=299,
    min_size=75,
    # As in the training of its weights. torchvision standardises by ImageNet's statistics and
    # converts inside the network (transform_input).
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    dropout=0.5,
    source="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015",
    backbone_parameters=21_785_568,
    side_parameters=3_326_696,
    stages=(
        ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
        ("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
        ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
        ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
        ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
    ),
    weights=(
        hub_file(_HUB + "inception_v3_google-0cc3c7bd.pth", "Apache-2.0 (Google), by torchvision"),
    ),
    replaced=("fc.", "AuxLogits."),
    flat_map=FlatMap(
        "inception_v3_flattened",
        _builder(
            "inception.inception_v3",
            "avgpool",
            "dropout",
            "fc",
            aux_logits=False,
            init_weights=True,
        ),
        width=2048 * 8 * 8,
        backbone_parameters=21_785_568,
    ),
    fine_tuning=_TUNED,
)

_DENSENET121 = ZooEntry(
    name="densenet121",
    title="DenseNet121",
    builder=_builder("densenet.densenet121", "classifier"),
    width=1024,
    source="Huang et al., Densely Connected Convolutional Networks, 2016",
    backbone_parameters=6_953_856,
    stages=(
        ("features.conv0", "features.norm0"),
        ("features.denseblock1", "features.transition1"),
        ("features.denseblock2", "features.transition2"),
        ("features.denseblock3", "features.transition3"),
        ("features.denseblock4", "features.norm5"),
    ),
    weights=(hub_file(_HUB + "densenet121-a639ec97.pth", _BSD),),
    replaced=("classifier.",),
    renamed=DENSENET_RENAMED,
    flat_map=FlatMap(
        "densenet121_flattened",
        _builder("densenet.densenet121", features_only=True, relu=True),
        width=1024 * 7 * 7,
        backbone_parameters=6_953_856,
    ),
    fine_tuning=_TUNED,
)

_EFFICIENTNET_B0 = ZooEntry(
    name="efficientnet_b0",
    title="EfficientNet-B0",
    builder=_builder("efficientnet.efficientnet_b0", "classifier"),
    width=1280,
    dropout=0.2,
    source="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural "
    "Networks, 2019",
    backbone_parameters=4_007_548,
    stages=_numbered("features", (0, 1), (2,), (3,), (4, 5), (6, 7, 8)),
    weights=(
        hub_file(
            _HUB + "efficientnet_b0_rwightman-7f5810bc.pth", "Apache-2.0 (timm), by torchvision"
        ),
    ),
    replaced=("classifier.",),
    flat_map=FlatMap(
        "efficientnet_b0_flattened",
        _builder("efficientnet.efficientnet_b0", "avgpool", "classifier"),
        width=1280 * 7 * 7,
        backbone_parameters=4_007_548,
    ),
    fine_tuning=SMALL_TUNED,
)

TORCHVISION_ENTRIES = (
    _MOBILENET_V2,
    _SQUEEZENET1_1,
    _VGG19,
    _RESNET50,
    _INCEPTION_V3,
    _DENSENET121,
    _EFFICIENTNET_B0,
)
