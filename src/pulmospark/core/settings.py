"""Every setting, typed: the same models read the TOML file, the options and the JSON."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from pulmospark.core import limits
from pulmospark.core.audit_settings import PHANTOM_COPIES
from pulmospark.core.audit_settings import AuditSettings as AuditSettings  # noqa: PLC0414
from pulmospark.core.augment_settings import AugmentSettings as AugmentSettings  # noqa: PLC0414
from pulmospark.core.errors import UsageError
from pulmospark.core.locations import LocalPath, local_text
from pulmospark.core.near_names import did_you_mean
from pulmospark.core.plain_text import is_name, one_line
from pulmospark.core.settings_base import Fraction as Fraction  # noqa: PLC0414
from pulmospark.core.settings_base import Names, Seed
from pulmospark.core.settings_base import Settings as Settings  # noqa: PLC0414
from pulmospark.core.tables import View
from pulmospark.core.tracking_settings import TrackingSettings as TrackingSettings  # noqa: PLC0414
from pulmospark.core.validation import validation_line

T = TypeVar("T", bound=Settings)
Method = Literal["features", "network"]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class SourceSettings(Settings):
    """One data set on disk."""

    path: LocalPath
    """folder of the data set, or the CSV file of a ``csv`` layout"""
    layout: str | None = None
    """name of the layout; ``None``: recognised from the folder"""
    name: str | None = None
    """name the data set has in the tables; ``None``: the layout's own, or the folder's"""
    options: dict[str, str] = Field(default_factory=dict)
    """what the layout asks for, ``path_column`` and ``label_column`` of a CSV, say"""

    @field_validator("options")
    @classmethod
    def _local(cls, value: dict[str, str]) -> dict[str, str]:
        """Some options are folders, ``root`` of a CSV; none else begins as an address does."""
        try:
            return {name: local_text(text) for name, text in value.items()}
        except UsageError as error:
            raise ValueError(error.message) from error


class IngestSettings(Settings):
    """From files to the images table."""

    size: Annotated[int, Field(ge=limits.STANDARD_SIZE_MIN, le=limits.STANDARD_SIZE_MAX)] = 224
    """side of the standard image, pixels"""
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    """how a film that is no square becomes one; the published papers stretch"""
    equalise: bool = False
    """equalise each film's histogram, as a preparation of all films: of those that are trained on,
    tested, and later predicted"""
    ct_window: Literal["lung", "soft", "header"] = "lung"
    """of CT slices from DICOM: ``lung`` (centre -600, width 1500 Hounsfield units), ``soft``
    (40, 400), or the first window that the header names"""
    salt_path: LocalPath | None = None
    """file with the secret that patient, study and series numbers of DICOM headers are hashed
    with; ``None``: a random one, made once for the run. Name one to know patients again in
    another run"""
    body_parts: Literal["chest", "any"] = "chest"
    """``chest``: a DICOM file whose header names another part of the body is a reject; ``any``: it
    is read like all others. A header without such an entry says nothing"""
    guess_view: Literal["off", "axial", "all"] = "off"
    """whether a view that nothing else tells is guessed from pixels: not at all; CT slices only;
    or lateral views, too. Guessed images are then excluded like others of that view. Off, since
    the guess misses most of them on other data, and takes some frontals for lateral views, those
    of one white lung above all; either way the audit ``guessed_views`` shows the images"""
    crop: Literal["none", "lungs"] = "none"
    """cut each film to the lungs and a little around them, found by a simple method: what stands
    at the border of a film can then tell no class"""


class PartFilms(Settings):
    """Films of one class in each part."""

    train: Annotated[int, Field(ge=1)]
    """films that the model is fitted on"""
    validation: Annotated[int, Field(ge=0)] = 0
    """films from which temperature and operating point are chosen"""
    test: Annotated[int, Field(ge=1)]
    """films that are tested on"""

    @property
    def total(self) -> int:
        """Films of all parts."""
        return self.train + self.validation + self.test


class SplitSettings(Settings):
    """Who is trained on and who is tested on."""

    train: Fraction = 0.7
    """share of the patients that the model is fitted on; with folds the films that are
    neither tested on nor validated on"""
    validation: Fraction = 0.1
    """share that validates: the epoch of a CNN, its temperature and its operating point; with
    folds, of the films that are not tested on. The method ``features`` trains on these too, and
    chooses by out-of-fold scores of all that it trains on"""
    test: Fraction = 0.2
    """share that is tested on; not used with folds, where each fold is tested on once"""
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    """k of k-fold cross-validation; 0: one split"""
    films: dict[str, PartFilms] = Field(default_factory=dict)
    """class -> films of it in each part, at most, instead of shares; whole patients, drawn from
    the seed. Where a class has fewer films its parts shrink in proportion; what is beyond them is
    left out. Not with folds"""
    views: Names = ("PA", "AP", "AP supine", "frontal", "unknown")
    """views that take part; lateral films and CT slices are left out unless named"""

    copies: Literal["together", "drop", "ignore"] = "together"
    """near copies, as the audit finds them: ``together`` keeps them in the same part or fold,
    ``drop`` keeps one of each, and none where their classes differ; ``ignore`` lets a tested
    image have a copy among those trained on"""
    balance: Literal["none", "source", "age", "sex", "view"] = "none"
    """leaves films out so that this tells the classes no longer: each source (band of ten years,
    sex, view) keeps as many films of each class as it has of its rarest class"""

    @field_validator("views")
    @classmethod
    def _known_views(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in list(View):
                raise ValueError(
                    f"there is no view {name!r}{did_you_mean(name, View)}: the views are "
                    f"{', '.join(View)}"
                )
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, and must be 1")
        if self.folds == 1:
            raise ValueError("folds is 1: use 0 for one split, or 2 and more")
        if self.folds and self.films:
            raise ValueError("films names the parts of one split, and folds has none: give one")
        return self


class LogisticSettings(Settings):
    """Spark MLlib's LogisticRegression on deep features."""

    max_iter: Annotated[int, Field(ge=1, le=10_000)] = 60
    """MLlib's ``maxIter``: iterations at most"""
    reg_param: Annotated[float, Field(ge=0.0)] | None = None
    """MLlib's ``regParam``: strength of the regularisation, on standardised features; ``None``:
    each model's own, from 0.001 to 1, by the log loss of out-of-fold scores of its training
    images"""
    elastic_net_param: Fraction = 0.0
    """MLlib's ``elasticNetParam``: 0 is L2 alone, 1 is L1 alone; other than 0 it needs a
    ``reg_param``"""

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.elastic_net_param and self.reg_param is None:
            raise ValueError(
                f"elastic_net_param is {self.elastic_net_param:g} and reg_param is not set: it is "
                "chosen for L2 alone, so give one"
            )
        return self


class NetworkOptions(Settings):
    """A CNN trained through TorchDistributor; what is left open is the network's own."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    """passes over the training part, at most"""
    batch_size: BatchSize | None = None
    """films a step, over all processes together; ``None``: the network's own"""
    trainable: Literal["all", "head"] | Annotated[int, Field(ge=1)] = "all"
    """what is trained: all of it, the last layer only, or the last n stages and the last layer;
    the batch norm of what is not trained keeps its statistics"""
    optimiser: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"
    """``rmsprop`` with a decay of 0.9, ``sgd`` with Nesterov's momentum of 0.9; ``adam`` and
    ``rmsprop`` and ``sgd`` take ``weight_decay`` as an L2 penalty"""
    learning_rate: Rate | None = None
    """the highest, that of the last layer; ``None``: the network's own"""
    stage_factor: Share | None = None
    """learning rate of a stage as a share of that of the stage after it, 1: the same for all;
    ``None``: the network's own"""
    warm_up: Fraction = 0.1
    """share of the steps over which the learning rate rises"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """what the learning rate does after the warm-up: fall to 0 as a cosine, or stay"""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """the optimiser's"""
    patience: Annotated[int, Field(ge=0)] = 0
    """epochs without a better validation loss after which it stops; 0: never"""
    balance: Literal["none", "weights", "sampling"] = "none"
    """rare classes count for more in the loss (``weights``), or are drawn more often and
    frequent ones less (``sampling``), so that all classes weigh the same"""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """share of a film's label that is spread evenly over all classes"""
    mix_up: Annotated[float, Field(ge=0.0)] = 0.0
    """alpha of the Beta distribution from which the share is drawn in which two films and
    their labels are mixed (0.2 is usual); 0: none are"""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """decay a step of the moving average of the weights that is validated and kept instead of
    the weights (0.999 is usual); 0: none"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """of the training's arithmetic; weights, validation and scores are float32 in any case.
    ``auto``: bf16 where the processor has instructions for it"""
    synchronise: Literal["gradients", "parameters"] = "gradients"
    """what several processes average: the gradients of every step, or the weights every
    ``synchronise_every`` steps"""
    synchronise_every: Annotated[int, Field(ge=0)] = 0
    """steps between two averages of the weights; 0: at the end of an epoch only"""


class NetworkSettings(NetworkOptions):
    """The same with nothing left open: what a training is told."""

    batch_size: BatchSize = 32
    """films a step, over all processes together"""
    learning_rate: Rate = 1e-3
    """the highest, that of the last layer"""
    stage_factor: Share = 1.0
    """learning rate of a stage as a share of that of the stage after it; 1: the same for all"""


class TrainSettings(Settings):
    """Which network, and how it is trained."""

    model: str = "mobilenet_v2"
    """name in the zoo, or a library's own as ``torchvision:NAME`` or ``timm:NAME``"""
    method: Method = "features"
    """``features``: frozen network and logistic regression; ``network``: the CNN itself"""
    weights: Literal["imagenet", "none"] = "imagenet"
    """the start; ``none``: from scratch"""
    weights_path: LocalPath | None = None
    """file or folder of safetensors or ``.pth`` files to take them from; ``None``:
    ``PULMOSPARK_WEIGHTS``, the cache, the hub"""
    start: LocalPath | None = None
    """bundle of an earlier training of the same network to start from, instead of ``weights``;
    its head is taken over too where the classes are the same"""
    processes: Annotated[int, Field(ge=1, le=limits.TRAINING_PROCESSES_MAX)] = 1
    """processes that train a CNN together, each in a Spark task; ``features`` does not use it"""
    logistic: LogisticSettings = LogisticSettings()
    """for the method ``features``"""
    network: NetworkOptions = NetworkOptions()
    """for the method ``network``"""
    augment: AugmentSettings | None = None
    """each training film is changed anew in each epoch of the method ``network``; ``None``:
    films are left as they are"""
    expanded: bool = False
    """train on the expanded table that ``pulmospark expand`` made of the training part"""
    expanded_path: LocalPath | None = None
    """folder of that table; ``None``: the run's own"""


class ExpandSettings(Settings):
    """Augmentation as a table of its own, made before the training."""

    per_class: Annotated[int, Field(ge=1, le=limits.EXPAND_PER_CLASS_MAX)]
    """rows that each class then has, the films themselves among them"""
    augment: AugmentSettings = AugmentSettings()
    """how the films are changed"""


class EvaluateSettings(Settings):
    """Figures and their intervals."""

    replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """bootstrap replicates over patients"""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """of the intervals"""
    calibration_bins: Annotated[int, Field(ge=2, le=100)] = 15
    """equal-width bins of the reliability diagram and the calibration error"""
    positive_class: str | None = None
    """class of the operating point; ``None``: the first class that is not named as the healthy
    are (normal, no finding, non-..., healthy, negative, control)"""
    levels: tuple[Literal["scan", "patient"], ...] = ()
    """what is evaluated beside the single films or slices, which always are: a CT scan by its
    slices, a patient by scans and films"""
    pooling: Literal["mean", "top_k", "noisy_or", "attention"] = "mean"
    """how the probabilities of slices become a scan's, and those of scans a patient's: their mean;
    the mean of the ``top_k`` largest of each class; noisy-or, in which one slice that shows
    a disease is enough; or a mean weighted by an attention over slices that is trained on the
    validation part, scans of which become patients by their mean"""
    top_k: Annotated[int, Field(ge=1, le=10_000)] = 5
    """slices of the pooling ``top_k``; all, where a scan has fewer"""
    negative_class: str | None = None
    """the class of those without a disease; the pooling ``noisy_or`` needs it"""
    sensitivity_target: Fraction = 0.95
    """the operating point is the highest threshold with at least this sensitivity on the images
    that it is chosen on: out-of-fold scores of the training part with the method ``features``,
    the validation part with ``network``"""


class Experiment(Settings):
    """A whole experiment: the TOML file that ``pulmospark run`` takes."""

    name: str = "experiment"
    """name of the experiment and of its folder"""
    seed: Seed = 20201
    """of the split, the training and the bootstrap"""
    out: LocalPath = Path("runs")
    """folder under which the experiment's own folder is made"""
    phantoms: bool = False
    """the films were drawn, not taken: the report says so above all else"""
    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """the data sets, one or more"""
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """class -> findings, case-blind, ``*`` and ``?`` allowed, ``source:finding`` for one
    source only; empty: every finding is a class of its own"""
    ingest: IngestSettings = IngestSettings()
    """from files to the images table"""
    split: SplitSettings = SplitSettings()
    """who is trained on and who is tested on"""
    expand: ExpandSettings | None = None
    """a table with augmented films; ``None``: none is made"""
    train: TrainSettings = TrainSettings()
    """which network, and how it is trained"""
    evaluate: EvaluateSettings = EvaluateSettings()
    """figures and their intervals"""
    audit: AuditSettings = AuditSettings()
    """whether data, split and model can be trusted"""
    tracking: TrackingSettings = TrackingSettings()
    """where the run is written for MLflow and TensorBoard; nowhere by default"""

    @model_validator(mode="before")
    @classmethod
    def _phantom_copies(cls, values: Any) -> Any:
        """Phantoms that are no copies are nearer than people's images: see ``PHANTOM_COPIES``."""
        if not (isinstance(values, dict) and values.get("phantoms")):
            return values
        audit = values.get("audit", {})
        if isinstance(audit, AuditSettings):
            audit = audit.model_dump(include=audit.model_fields_set)
        return values | {"audit": PHANTOM_COPIES | audit} if isinstance(audit, dict) else values

    @model_validator(mode="after")
    def _negative(self) -> Self:
        asked, negative = self.evaluate, self.evaluate.negative_class
        if asked.levels and asked.pooling == "noisy_or" and negative is None:
            raise ValueError(
                "evaluate.pooling is noisy_or, and no evaluate.negative_class says which class is "
                "that without a disease: name it, or take mean or top_k"
            )
        if negative is not None and self.classes and negative not in self.classes:
            raise ValueError(
                f"evaluate.negative_class is {negative!r}{did_you_mean(negative, self.classes)}, "
                f"and the classes are {', '.join(self.classes)}"
            )
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.expand is not None and not self.train.expanded:
            raise ValueError(
                "expand is given and train.expanded is false, so nothing would train on the "
                "table: set train.expanded = true, or leave expand out"
            )
        return self

    @field_validator("classes")
    @classmethod
    def _countable(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if len(value) == 1:
            raise ValueError(f"classes has only {next(iter(value))!r}: name two or more")
        for name in value:
            if not is_name(name):
                raise ValueError(
                    f"{one_line(name, 80)!r} is no name for a class: it is blank, over "
                    f"{limits.NAME_CHARS_MAX} characters, or has control characters"
                )
        if len(value) > limits.CLASSES_MAX:
            raise ValueError(f"classes has {len(value)}, and at most {limits.CLASSES_MAX} may be")
        return value


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's TOML file; relative paths are taken from the file's folder.

    Raises:
        UsageError: the file is missing, is no TOML, or a setting is wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name the TOML file of an experiment")
    if (size := path.stat().st_size) > limits.CONFIG_FILE_BYTES_MAX:
        raise UsageError(f"{path}: {size} bytes, over {limits.CONFIG_FILE_BYTES_MAX}")
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    return located(parse(Experiment, values, where=str(path)), path.resolve().parent)


def located(experiment: Experiment, base: Path) -> Experiment:
    """The experiment with absolute paths; relative ones are taken from ``base``."""
    train = experiment.train
    named = {
        "weights_path": train.weights_path,
        "start": train.start,
        "expanded_path": train.expanded_path,
    }
    salt = experiment.ingest.salt_path
    return experiment.model_copy(
        update={
            "out": base / experiment.out.expanduser(),
            "tracking": experiment.tracking.below(base),
            "ingest": experiment.ingest.model_copy(
                update={"salt_path": base / salt.expanduser() if salt else None}
            ),
            "train": train.model_copy(
                update={name: base / at.expanduser() for name, at in named.items() if at}
            ),
            "sources": tuple(
                source.model_copy(update={"path": base / source.path.expanduser()})
                for source in experiment.sources
            ),
        }
    )


def parse(kind: type[T], values: dict[str, Any], *, where: str) -> T:
    """Build settings from plain values, with a one-line error.

    Args:
        kind: the settings' class.
        values: plain values, as TOML or JSON gives them.
        where: what the message names as the place of the fault.

    Raises:
        UsageError: a key is unknown or a value is out of its range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {validation_line(error, kind)}") from error
