"""Published experiments as settings: what each paper states, and what had to be guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pulmospark.config.augment import AugmentSettings, RotationSettings
from pulmospark.config.split import ImagesPerSplit
from pulmospark.config.train import LogisticSettings, NetworkSettings, TrainSettings
from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.catalogue import entry

COVID = ("covid_chestxray:*COVID-19*", "radiography_database:COVID")
NORMAL = ("kermany:NORMAL",)
BACTERIAL = ("kermany:PNEUMONIA bacterial",)
VIRAL = ("kermany:PNEUMONIA viral",)
LAYOUTS = ("covid_chestxray", "radiography_database", "kermany")
"""layouts of the data sets that presets use"""


@dataclass(frozen=True)
class Published:
    """The results of the paper.

    Attributes:
        accuracy: 0 to 1.
        right: correctly classified images, if given or derivable.
        images: images tested on, if given.
    """

    accuracy: float
    right: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class Preset:
    """A published experiment.

    Attributes:
        name: on the command line.
        source: the paper.
        published: its accuracy.
        classes: class -> findings of the data sets.
        images: number of images of each class in each split.
        size: side of the images, pixels.
        train: network and settings.
        doubled: rows per class after augmentation, as a multiple of the smallest class's
            training images; 0: not used.
        expanded_to: rows per class of the whole data after augmentation; 0: not used.
        augment: augmentation of the copies; ``None``: there are none.
        equalise: equalise every image's histogram.
        leaky: the paper splits after augmenting. It is run both that way and with the split
            first.
        guessed: what the paper does not state, and the value used here.
    """

    name: str
    source: str
    published: Published
    classes: Mapping[str, tuple[str, ...]]
    images: Mapping[str, ImagesPerSplit]
    size: int
    train: TrainSettings
    doubled: int = 0
    expanded_to: int = 0
    augment: AugmentSettings | None = None
    equalise: bool = False
    leaky: bool = False
    guessed: tuple[str, ...] = ()


def only_rotation(degrees: float) -> AugmentSettings:
    """One random rotation of each image, and nothing else."""
    off = {
        name: value.model_copy(update={"probability": 0.0})
        for name, value in AugmentSettings()
        if name != "rotation"
    }
    return AugmentSettings(rotation=RotationSettings(probability=1.0, degrees=degrees), **off)


_PER_PATIENT = "split: not stated in the paper; here known patients are never on both sides"
_VALIDATION = (
    "validation: not stated in the paper; here a tenth of its training images, for the "
    "temperature, the operating point and the best epoch"
)


def _belman(kind: str, classes: Mapping[str, tuple[str, ...]], published: Published) -> Preset:
    others = ImagesPerSplit(train=720, validation=80, test=180)
    images = {
        name: ImagesPerSplit(train=360, validation=40, test=180) if name == "COVID-19" else others
        for name in classes
    }
    return Preset(
        name=f"belman-lopez-2022-{kind}",
        source=entry(f"belman_lopez_2022_{kind}").source,
        published=published,
        classes=classes,
        images=images,
        size=200,
        train=TrainSettings(
            model=f"belman_lopez_2022_{kind}",
            method="network",
            weights="none",
            expanded=True,
            network=NetworkSettings(
                epochs=60,
                batch_size=32,
                optimiser="adam",
                learning_rate=1e-3,
                weight_decay=0.0,
                warm_up=0.0,
                schedule="constant",
                patience=12,
            ),
        ),
        doubled=2,
        augment=only_rotation(15.0),
        guessed=(
            _PER_PATIENT,
            _VALIDATION,
            "rotation: range not stated; here up to 15 degrees to either side",
            "Adam: rate and batch size not stated; here 0.001 and 32",
            "stopping: up to 60 epochs; after 12 without a better validation loss",
            *entry(f"belman_lopez_2022_{kind}").guessed,
        ),
    )


_LOGISTIC = LogisticSettings(max_iter=20, reg_param=0.05, elastic_net_param=0.3)
_LOGISTIC_GUESS = (
    "logistic regression: settings not stated; here maxIter 20, regParam 0.05, "
    "elasticNetParam 0.3, on flattened features"
)


def eighty_twenty(images: int) -> ImagesPerSplit:
    """80 : 20, with a tenth of the training images for validation."""
    test = round(images * 0.2)
    validation = round((images - test) * 0.1)
    return ImagesPerSplit(train=images - test - validation, validation=validation, test=test)


def _features(
    name: str,
    source: str,
    network: str,
    classes: Mapping[str, tuple[str, ...]],
    *,
    images: int,
    accuracy: float,
    guessed: tuple[str, ...] = (),
) -> Preset:
    return Preset(
        name=f"{name}-{network.replace('_v3', 'v3')}",
        source=source,
        published=Published(accuracy),
        classes=classes,
        images=dict.fromkeys(classes, eighty_twenty(images)),
        size=299 if network == "inception_v3" else 224,
        train=TrainSettings(model=f"{network}_flattened", logistic=_LOGISTIC),
        guessed=(
            "split: not stated; here 80 : 20, and known patients are never on both sides",
            _VALIDATION,
            _LOGISTIC_GUESS,
            *guessed,
        ),
    )


_AKTER = (
    "Akter et al., COVID-19 Detection Using Deep Learning Algorithm on Chest X-ray Images, 2021, "
    "doi 10.3390/biology10111174"
)


def _akter(kind: str, accuracy: float) -> Preset:
    model = "mobilenet_v2_modified" if kind == "modified" else "mobilenet_v2"
    return Preset(
        name=f"akter-2021-{kind}",
        source=_AKTER,
        published=Published(accuracy),
        classes={
            "COVID-19": ("radiography_database:COVID",),
            "normal": ("radiography_database:Normal",),
        },
        images={"COVID-19": eighty_twenty(3616), "normal": eighty_twenty(10_192)},
        size=224,
        train=TrainSettings(
            model=model,
            method="network",
            expanded=True,
            network=NetworkSettings(
                epochs=20,
                batch_size=32,
                # The base is frozen: only the added layers and the last one are trained.
                trainable=1 if kind == "modified" else "head",
                optimiser="rmsprop",
                learning_rate=1e-4 if kind == "modified" else 1e-3,
                weight_decay=0.0,
                warm_up=0.0,
                schedule="constant",
                patience=5,
            ),
        ),
        expanded_to=26_000,
        augment=AugmentSettings(),
        equalise=True,
        leaky=True,
        guessed=(
            "split before augmenting: the COVID-19 Radiography Database names no patients, so "
            "images of one patient, and its copies in other sizes, may still be on both sides",
            _VALIDATION,
            "enhancement: histogram equalisation of every image, without the paper's spectrum, "
            "greys, cyan and N-CLAHE",
            "augmentation: operations and ranges are the defaults of `pulmospark expand`",
            "RMSprop: rate and batch size not stated; here "
            f"{'0.0001' if kind == 'modified' else '0.001'} and 32, constant",
            "stopping: up to 20 epochs; after 5 without a better validation loss",
            *entry(model).guessed,
        ),
    )


_TWO = {"COVID-19": COVID, "normal": NORMAL}
_THREE = {**_TWO, "pneumonia": (*BACTERIAL, *VIRAL)}
_FOUR = {**_TWO, "bacterial": BACTERIAL, "viral": VIRAL}
_AWAN = (
    "Awan et al., Detection of COVID-19 in Chest X-ray Images: A Big Data Enabled Deep Learning "
    "Approach, 2021, doi 10.3390/ijerph181910147"
)
_BENBRAHIM = (
    "Benbrahim, Hachimi and Amine, Deep Transfer Learning with Apache Spark to Detect COVID-19 in "
    "Chest X-ray Images, 2020, ROMJIST 23 (S), S117-S129"
)


def _all() -> list[Preset]:
    presets = [
        _belman("binary", _TWO, Published(0.9917, 357, 360)),
        _belman("4class", _FOUR, Published(0.9403, 677, 720)),
    ]
    shares = "images: only the total is stated; here as many of each class"
    for network, three in (("inception_v3", 0.97), ("resnet50", 0.9855), ("vgg19", 0.9855)):
        presets += [
            _features(
                "awan-2021-2class",
                _AWAN,
                network,
                _TWO,
                images=177,
                accuracy=1.0,
                guessed=(shares,),
            ),
            _features(
                "awan-2021-3class",
                _AWAN,
                network,
                _THREE,
                images=236,
                accuracy=three,
                guessed=(shares,),
            ),
        ]
    presets += [
        _features("benbrahim-2020", _BENBRAHIM, network, _TWO, images=160, accuracy=accuracy)
        for network, accuracy in (("inception_v3", 0.9901), ("resnet50", 0.9803))
    ]
    return [*presets, _akter("mobilenetv2", 0.97), _akter("modified", 0.98)]


PRESETS = MappingProxyType({preset.name: preset for preset in _all()})
"""name -> :class:`Preset`"""


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: there is none; the message lists the names.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"preset {name!r}: choose one of {', '.join(PRESETS)}") from None
