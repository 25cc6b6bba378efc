"""All settings, typed: the same models read the TOML file, the options and the JSON."""

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
    """name of the data set in the tables; ``None``: the layout's, or the folder's"""
    options: dict[str, str] = Field(default_factory=dict)
    """options of the layout, such as ``path_column`` and ``label_column`` of a CSV"""

    @field_validator("options")
    @classmethod
    def _local(cls, value: dict[str, str]) -> dict[str, str]:
        """Some options are folders, such as ``root`` of a CSV; no other looks like an address."""
        try:
            return {name: local_text(text) for name, text in value.items()}
        except UsageError as error:
            raise ValueError(error.message) from error


class IngestSettings(Settings):
    """From files to the images table."""

    size: Annotated[int, Field(ge=limits.STANDARD_SIZE_MIN, le=limits.STANDARD_SIZE_MAX)] = 224
    """side of the standard image, pixels"""
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    """how a film that is not square becomes square; the published papers stretch"""
    equalise: bool = False
    """equalise each film's histogram, as preprocessing in training, testing and prediction"""
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
    """crop each film to the lungs with a margin, found by a simple method, so that what lies at
    the border of a film cannot predict the class"""


class PartFilms(Settings):
    """Number of films of one class in each split."""

    train: Annotated[int, Field(ge=1)]
    """films that the model is trained on"""
    validation: Annotated[int, Field(ge=0)] = 0
    """films from which temperature and operating point are chosen"""
    test: Annotated[int, Field(ge=1)]
    """films that the model is tested on"""

    @property
    def total(self) -> int:
        """Films of all splits."""
        return self.train + self.validation + self.test


class SplitSettings(Settings):
    """How patients are split into training, validation and test."""

    train: Fraction = 0.7
    """share of the patients in the training split; with folds, the films that are neither tested
    on nor used for validation"""
    validation: Fraction = 0.1
    """share in the validation split, for a CNN's epoch, temperature and operating point; with
    folds, of the films that are not tested on. The method ``features`` trains on these, too, and
    chooses by out-of-fold scores of all that it trains on"""
    test: Fraction = 0.2
    """share in the test split; not used with folds, where each fold is tested on once"""
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    """k of k-fold cross-validation; 0: one split"""
    films: dict[str, PartFilms] = Field(default_factory=dict)
    """class -> films of it in each part, at most, instead of shares; whole patients, drawn from
    the seed. Where a class has fewer films its parts shrink in proportion; what is beyond them is
    left out. Not with folds"""
    views: Names = ("PA", "AP", "AP supine", "frontal", "unknown")
    """views that take part; lateral films and CT slices are left out unless named"""

    copies: Literal["together", "drop", "ignore"] = "together"
    """near copies, as the audit finds them: ``together`` keeps them in the same split or fold;
    ``drop`` keeps one of each, and none if their classes differ; ``ignore`` lets a tested image
    have a copy in the training split"""
    balance: Literal["none", "source", "age", "sex", "view"] = "none"
    """excludes films so that this no longer predicts the class: each source (ten-year age band,
    sex, view) keeps as many films of each class as it has of its rarest class"""

    @field_validator("views")
    @classmethod
    def _known_views(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in list(View):
                raise ValueError(
                    f"no view {name!r}{did_you_mean(name, View)}: choose from {', '.join(View)}"
                )
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, but must be 1")
        if self.folds == 1:
            raise ValueError("folds is 1: use 0 for one split, or at least 2")
        if self.folds and self.films:
            raise ValueError("films is for one split and does not go with folds: give only one")
        return self


class LogisticSettings(Settings):
    """Spark MLlib's LogisticRegression on deep features."""

    max_iter: Annotated[int, Field(ge=1, le=10_000)] = 60
    """MLlib's ``maxIter``: maximum number of iterations"""
    reg_param: Annotated[float, Field(ge=0.0)] | None = None
    """MLlib's ``regParam``: strength of the regularisation, on standardised features; ``None``:
    chosen per model, from 0.001 to 1, by the log loss of out-of-fold scores of its training
    images"""
    elastic_net_param: Fraction = 0.0
    """MLlib's ``elasticNetParam``: 0 is pure L2, 1 is pure L1; other than 0 it needs a
    ``reg_param``"""

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.elastic_net_param and self.reg_param is None:
            raise ValueError(
                f"elastic_net_param is {self.elastic_net_param:g} and reg_param is not set: it is "
                "only chosen for L2, so set it"
            )
        return self


class NetworkOptions(Settings):
    """A CNN trained through TorchDistributor; unset values default to the model's recipe."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    """maximum number of passes over the training split"""
    batch_size: BatchSize | None = None
    """films per step, over all processes together; ``None``: the model's default"""
    trainable: Literal["all", "head"] | Annotated[int, Field(ge=1)] = "all"
    """what is trained: everything, the last layer only, or the last n stages and the last layer;
    the batch norm of frozen layers keeps its statistics"""
    optimiser: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"
    """``rmsprop`` with a decay of 0.9, ``sgd`` with Nesterov momentum of 0.9; ``adam``,
    ``rmsprop`` and ``sgd`` use ``weight_decay`` as an L2 penalty"""
    learning_rate: Rate | None = None
    """the maximum, used for the last layer; ``None``: the model's default"""
    stage_factor: Share | None = None
    """learning rate of a stage as a share of that of the next stage; 1: the same for all;
    ``None``: the model's default"""
    warm_up: Fraction = 0.1
    """share of the steps over which the learning rate rises"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """learning rate after the warm-up: cosine decay to 0, or constant"""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """the optimiser's"""
    patience: Annotated[int, Field(ge=0)] = 0
    """epochs without a better validation loss before early stopping; 0: never"""
    balance: Literal["none", "weights", "sampling"] = "none"
    """rare classes weigh more in the loss (``weights``), or are sampled more often and frequent
    ones less (``sampling``), so that all classes weigh the same"""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """share of a film's label that is spread evenly over all classes"""
    mix_up: Annotated[float, Field(ge=0.0)] = 0.0
    """alpha of the Beta distribution of mix-up's mixing ratio of two films and their labels (0.2
    is usual); 0: off"""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """decay per step of the moving average of the weights that is validated and kept instead of
    the weights (0.999 is usual); 0: off"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """of the training's arithmetic; weights, validation and scores are always float32. ``auto``:
    bf16 if the processor has instructions for it"""
    synchronise: Literal["gradients", "parameters"] = "gradients"
    """what several processes average: the gradients of every step, or the weights every
    ``synchronise_every`` steps"""
    synchronise_every: Annotated[int, Field(ge=0)] = 0
    """steps between two averages of the weights; 0: only at the end of an epoch"""


class NetworkSettings(NetworkOptions):
    """The same with every value set, as the training uses it."""

    batch_size: BatchSize = 32
    """films per step, over all processes together"""
    learning_rate: Rate = 1e-3
    """the maximum, used for the last layer"""
    stage_factor: Share = 1.0
    """learning rate of a stage as a share of that of the next stage; 1: the same for all"""


class TrainSettings(Settings):
    """The network, and how it is trained."""

    model: str = "mobilenet_v2"
    """name in the zoo, or a library's model as ``torchvision:NAME`` or ``timm:NAME``"""
    method: Method = "features"
    """``features``: frozen network and logistic regression; ``network``: the CNN itself"""
    weights: Literal["imagenet", "none"] = "imagenet"
    """initial weights; ``none``: from scratch"""
    weights_path: LocalPath | None = None
    """file or folder of safetensors or ``.pth`` files with them; ``None``:
    ``PULMOSPARK_WEIGHTS``, the cache, the hub"""
    start: LocalPath | None = None
    """bundle of an earlier training of the same network to start from, instead of ``weights``;
    includes its head if the classes are the same"""
    processes: Annotated[int, Field(ge=1, le=limits.TRAINING_PROCESSES_MAX)] = 1
    """processes that train a CNN together, each in a Spark task; ``features`` does not use it"""
    logistic: LogisticSettings = LogisticSettings()
    """for the method ``features``"""
    network: NetworkOptions = NetworkOptions()
    """for the method ``network``"""
    augment: AugmentSettings | None = None
    """randomly augment each training film in each epoch, for the method ``network``; ``None``: no
    augmentation"""
    expanded: bool = False
    """train on the expanded table that ``pulmospark expand`` made of the training split"""
    expanded_path: LocalPath | None = None
    """folder of that table; ``None``: the run's own"""


class ExpandSettings(Settings):
    """Augmentation as a separate table, made before training."""

    per_class: Annotated[int, Field(ge=1, le=limits.EXPAND_PER_CLASS_MAX)]
    """rows per class afterwards, including the films themselves"""
    augment: AugmentSettings = AugmentSettings()
    """augmentation of the films"""


class EvaluateSettings(Settings):
    """Metrics and their CIs."""

    replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """bootstrap replicates over patients"""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """of the CIs"""
    calibration_bins: Annotated[int, Field(ge=2, le=100)] = 15
    """equal-width bins of the reliability diagram and the calibration error"""
    positive_class: str | None = None
    """class of the operating point; ``None``: the first class whose name does not mean healthy
    (normal, no finding, non-..., healthy, negative, control)"""
    levels: tuple[Literal["scan", "patient"], ...] = ()
    """what is evaluated in addition to single films or slices: a CT scan by its slices, a patient
    by scans and films"""
    pooling: Literal["mean", "top_k", "noisy_or", "attention"] = "mean"
    """how probabilities of slices are pooled to a scan's, and those of scans to a patient's:
    their mean; the mean of the ``top_k`` largest of each class; noisy-or, for which one slice
    that shows a disease is enough; or a mean weighted by an attention over slices that is trained
    on the validation split, with patients pooled from scans by the mean"""
    top_k: Annotated[int, Field(ge=1, le=10_000)] = 5
    """slices of the pooling ``top_k``; all, if a scan has fewer"""
    negative_class: str | None = None
    """the class without a disease; the pooling ``noisy_or`` needs it"""
    sensitivity_target: Fraction = 0.95
    """the operating point is the highest threshold with at least this sensitivity on the images
    that it is chosen on: out-of-fold scores of the training split with the method ``features``,
    the validation split with ``network``"""


class Experiment(Settings):
    """A whole experiment: the TOML file that ``pulmospark run`` takes."""

    name: str = "experiment"
    """name of the experiment and of its folder"""
    seed: Seed = 20201
    """of the split, the training and the bootstrap"""
    out: LocalPath = Path("runs")
    """folder under which the experiment's own folder is created"""
    phantoms: bool = False
    """the films are synthetic: the report says so at the top"""
    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """the data sets, one or more"""
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """class -> findings, ignoring case, ``*`` and ``?`` allowed, ``source:finding`` for one
    source only; empty: every finding is a class"""
    ingest: IngestSettings = IngestSettings()
    """from files to the images table"""
    split: SplitSettings = SplitSettings()
    """how patients are split into training, validation and test"""
    expand: ExpandSettings | None = None
    """a table with augmented films; ``None``: no table"""
    train: TrainSettings = TrainSettings()
    """the network, and how it is trained"""
    evaluate: EvaluateSettings = EvaluateSettings()
    """metrics and their CIs"""
    audit: AuditSettings = AuditSettings()
    """whether data, split and model can be trusted"""
    tracking: TrackingSettings = TrackingSettings()
    """where the run is written for MLflow and TensorBoard; nowhere by default"""

    @model_validator(mode="before")
    @classmethod
    def _phantom_copies(cls, values: Any) -> Any:
        """Different phantoms are more alike than patients' images: see ``PHANTOM_COPIES``."""
        if not (isinstance(values, dict) and values.get("phantoms")):
            return values
        audit = values.get("audit", {})
        if isinstance(audit, AuditSettings):
            audit = audit.model_dump(include=audit.model_fields_set)
        return values | {"audit": PHANTOM_COPIES | audit} if isinstance(audit, dict) else values

    @model_validator(mode="after")
    def _negative(self) -> Self:
        settings, negative = self.evaluate, self.evaluate.negative_class
        if settings.levels and settings.pooling == "noisy_or" and negative is None:
            raise ValueError(
                "evaluate.pooling is noisy_or, but evaluate.negative_class is not set: set it to "
                "the class without a disease, or use mean or top_k"
            )
        if negative is not None and self.classes and negative not in self.classes:
            raise ValueError(
                f"evaluate.negative_class is {negative!r}{did_you_mean(negative, self.classes)}: "
                f"choose from {', '.join(self.classes)}"
            )
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.expand is not None and not self.train.expanded:
            raise ValueError(
                "expand is given and train.expanded is false, so nothing would train on the "
                "table: set train.expanded = true, or remove expand"
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
                    f"{one_line(name, 80)!r} cannot be the name of a class: it is blank, over "
                    f"{limits.NAME_CHARS_MAX} characters, or has control characters"
                )
        if len(value) > limits.CLASSES_MAX:
            raise ValueError(f"classes has {len(value)}, the maximum is {limits.CLASSES_MAX}")
        return value


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's TOML file; relative paths are taken from the file's folder.

    Raises:
        UsageError: the file is missing or not TOML, or a setting is wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the TOML file of an experiment")
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
        where: the source of the values, for the message.

    Raises:
        UsageError: a key is unknown or a value is out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {validation_line(error, kind)}") from error
