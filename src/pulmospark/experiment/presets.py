"""Published experiments, as settings: what each paper says, and what had to be guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pulmospark.core.augment_settings import AugmentSettings, RotationSettings
from pulmospark.core.errors import UsageError
from pulmospark.core.settings import (
    LogisticSettings,
    NetworkSettings,
    PartFilms,
    TrainSettings,
)
from pulmospark.models.catalogue import entry

COVID = ("covid_chestxray:*COVID-19*", "radiography_database:COVID")
NORMAL = ("kermany:NORMAL",)
BACTERIAL = ("kermany:PNEUMONIA bacterial",)
VIRAL = ("kermany:PNEUMONIA viral",)
LAYOUTS = ("covid_chestxray", "radiography_database", "kermany")
"""layouts of the data sets that presets draw on"""


@dataclass(frozen=True)
class Published:
    """What the paper reports.

    Attributes:
        accuracy: 0 to 1.
        right: films named rightly, where the paper gives them or they follow.
        films: films tested on, where the paper gives them.
    """

    accuracy: float
    right: int | None = None
    films: int | None = None


@dataclass(frozen=True)
class Preset:
    """A published experiment.

    Attributes:
        name: on the command line.
        source: the paper.
        published: its figure.
        classes: class -> findings of the data sets.
        films: films of each class in each part.
        size: side of the images, pixels.
        train: network and settings.
        doubled: rows that each class has after augmentation, as a multiple of the smallest
            class's training films; 0: it is not made so.
        expanded_to: rows that each class of the whole data has after augmentation; 0: it is
            not made so.
        augment: how children are made; ``None``: none are.
        equalise: every film's histogram is equalised.
        leaky: the paper splits after augmenting. It is run as the paper does and, as its
            opposite, with the split before.
        guessed: what the paper leaves open, and what was taken.
    """

    name: str
    source: str
    published: Published
    classes: Mapping[str, tuple[str, ...]]
    films: Mapping[str, PartFilms]
    size: int
    train: TrainSettings
    doubled: int = 0
    expanded_to: int = 0
    augment: AugmentSettings | None = None
    equalise: bool = False
    leaky: bool = False
    guessed: tuple[str, ...] = ()


def only_rotation(degrees: float) -> AugmentSettings:
    """One random turn of each film, and nothing else."""
    off = {
        name: value.model_copy(update={"probability": 0.0})
        for name, value in AugmentSettings()
        if name != "rotation"
    }
    return AugmentSettings(rotation=RotationSettings(probability=1.0, degrees=degrees), **off)


_PER_PATIENT = (
    "split: the paper names none; here no patient is on both sides, wherever the patient is known"
)
_VALIDATION = (
    "validation: the paper names none; a tenth of its training films serves here, for the "
    "temperature, the operating point and the best epoch"
)


def _belman(kind: str, classes: Mapping[str, tuple[str, ...]], published: Published) -> Preset:
    others = PartFilms(train=720, validation=80, test=180)
    films = {
        name: PartFilms(train=360, validation=40, test=180) if name == "COVID-19" else others
        for name in classes
    }
    return Preset(
        name=f"belman-lopez-2022-{kind}",
        source=entry(f"belman_lopez_2022_{kind}").source,
        published=published,
        classes=classes,
        films=films,
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
            "rotation: the range is not given; up to 15 degrees to either side",
            "Adam: rate and batch are not given; 0.001 and 32",
            "stopping: up to 60 epochs; after 12 without a better validation loss",
            *entry(f"belman_lopez_2022_{kind}").guessed,
        ),
    )


_LOGISTIC = LogisticSettings(max_iter=20, reg_param=0.05, elastic_net_param=0.3)
_LOGISTIC_GUESS = (
    "logistic regression: the paper gives no settings; maxIter 20, regParam 0.05, "
    "elasticNetParam 0.3, on flattened features"
)


def eighty_twenty(films: int) -> PartFilms:
    """80 : 20, a tenth of the training films for the validation."""
    test = round(films * 0.2)
    validation = round((films - test) * 0.1)
    return PartFilms(train=films - test - validation, validation=validation, test=test)


def _features(
    name: str,
    source: str,
    network: str,
    classes: Mapping[str, tuple[str, ...]],
    *,
    films: int,
    accuracy: float,
    guessed: tuple[str, ...] = (),
) -> Preset:
    return Preset(
        name=f"{name}-{network.replace('_v3', 'v3')}",
        source=source,
        published=Published(accuracy),
        classes=classes,
        films=dict.fromkeys(classes, eighty_twenty(films)),
        size=299 if network == "inception_v3" else 224,
        train=TrainSettings(model=f"{network}_flattened", logistic=_LOGISTIC),
        guessed=(
            "split: the paper gives none; 80 : 20 here, and no patient on both sides, wherever "
            "the patient is known",
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
        films={"COVID-19": eighty_twenty(3616), "normal": eighty_twenty(10_192)},
        size=224,
        train=TrainSettings(
            model=model,
            method="network",
            expanded=True,
            network=NetworkSettings(
                epochs=20,
                batch_size=32,
                # The base is frozen: what was added is trained, and the last layer.
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
            "split before augmenting: no patient is known in the COVID-19 Radiography Database, "
            "so films of one patient, and its copies in other sizes, may still be on both sides",
            _VALIDATION,
            "enhancement: histogram equalisation of every film; the paper's spectrum, greys, "
            "cyan and N-CLAHE are left out",
            "augmentation: operations and ranges are the defaults of `pulmospark expand`",
            "RMSprop: rate and batch are taken as "
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
    found = [
        _belman("binary", _TWO, Published(0.9917, 357, 360)),
        _belman("4class", _FOUR, Published(0.9403, 677, 720)),
    ]
    shares = "films: the total alone is given; as many of each class here"
    for network, three in (("inception_v3", 0.97), ("resnet50", 0.9855), ("vgg19", 0.9855)):
        found += [
            _features(
                "awan-2021-2class",
                _AWAN,
                network,
                _TWO,
                films=177,
                accuracy=1.0,
                guessed=(shares,),
            ),
            _features(
                "awan-2021-3class",
                _AWAN,
                network,
                _THREE,
                films=236,
                accuracy=three,
                guessed=(shares,),
            ),
        ]
    found += [
        _features("benbrahim-2020", _BENBRAHIM, network, _TWO, films=160, accuracy=accuracy)
        for network, accuracy in (("inception_v3", 0.9901), ("resnet50", 0.9803))
    ]
    return [*found, _akter("mobilenetv2", 0.97), _akter("modified", 0.98)]


PRESETS = MappingProxyType({preset.name: preset for preset in _all()})
"""name -> :class:`Preset`"""


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: there is none; it lists those there are.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"preset {name!r}: choose one of {', '.join(PRESETS)}") from None
