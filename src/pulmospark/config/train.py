"""Settings of training: the network, its start, and the options of both methods."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pulmospark.config.augment import AugmentSettings
from pulmospark.config.base import Fraction, Settings
from pulmospark.core import limits
from pulmospark.core.locations import LocalPath
from pulmospark.core.store_uri import PlacePath

Method = Literal["features", "network"]
Solver = Literal["driver", "mllib"]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class LogisticSettings(Settings):
    """Multinomial logistic regression on deep features, with the objective of Spark's MLlib."""

    solver: Literal["auto"] | Solver = "auto"
    """``driver``: L-BFGS in the driver's memory, which takes a fraction of a second; ``mllib``:
    Spark MLlib's ``LogisticRegression`` on the executors, as in the published Spark papers;
    ``auto``: the driver for L2 regularisation of features up to FEATURE_MATRIX_BYTES_MAX"""
    max_iter: Annotated[int, Field(ge=1, le=10_000)] = 200
    """MLlib's ``maxIter``: maximum number of iterations"""
    reg_param: Annotated[float, Field(ge=0.0)] | None = None
    """MLlib's ``regParam``: strength of the regularisation, on standardised features; ``None``:
    chosen per model, from 0.001 to 1, by the log loss of out-of-fold scores of its training
    images"""
    elastic_net_param: Fraction = 0.0
    """MLlib's ``elasticNetParam``: 0 is pure L2, 1 is pure L1; other than 0 it needs a
    ``reg_param``, and is fitted by ``mllib``"""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.elastic_net_param and self.reg_param is None:
            raise ValueError(
                f"elastic_net_param is {self.elastic_net_param:g} and reg_param is not set: it is "
                "only chosen for L2, so set it"
            )
        if self.elastic_net_param and self.solver == "driver":
            raise ValueError(
                f"elastic_net_param is {self.elastic_net_param:g} and solver is 'driver', which "
                "fits L2 only: use 'auto' or 'mllib'"
            )
        return self


class NetworkOptions(Settings):
    """A CNN trained through TorchDistributor; unset values default to the model's recipe."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    """maximum number of passes over the training split"""
    batch_size: BatchSize | None = None
    """images per step, over all processes together; ``None``: the model's default"""
    trainable: Literal["all", "head"] | Annotated[int, Field(ge=1)] = "all"
    """what is trained: everything, the last layer only, or the last n stages and the last layer;
    the batch norm of frozen layers keeps its statistics"""
    batch_norm: Literal["batch", "fixed"] = "batch"
    """statistics used by trained batch norm layers: those of each batch, or the fixed ones of the
    initial weights, whose layers are folded into their convolutions: faster, but less accurate
    after as many epochs"""
    keep_frozen_outputs: bool = True
    """compute the output of frozen stages once per image, on disk up to
    FROZEN_OUTPUTS_BYTES_MAX; not done with ``augment`` or ``mix_up``, where it differs in each
    epoch"""
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
    """share of an image's label that is spread evenly over all classes"""
    mix_up: Annotated[float, Field(ge=0.0)] = 0.0
    """alpha of the Beta distribution of mix-up's mixing ratio of two images and their labels (0.2
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
    """images per step, over all processes together"""
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
    weights_path: PlacePath | None = None
    """file or folder of safetensors or ``.pth`` files with them; ``None``:
    ``PULMOSPARK_WEIGHTS``, the cache, the hub"""
    start: PlacePath | None = None
    """bundle of an earlier training of the same network to start from, instead of ``weights``;
    includes its head if the classes are the same"""
    processes: Annotated[int, Field(ge=1, le=limits.TRAINING_PROCESSES_MAX)] = 1
    """processes that train a CNN together, each in a Spark task; ``features`` does not use it"""
    logistic: LogisticSettings = LogisticSettings()
    """for the method ``features``"""
    network: NetworkOptions = NetworkOptions()
    """for the method ``network``"""
    augment: AugmentSettings | None = None
    """randomly augment each training image in each epoch, for the method ``network``; ``None``: no
    augmentation"""
    expanded: bool = False
    """train on the expanded table that ``pulmospark expand`` made of the training split"""
    expanded_path: LocalPath | None = None
    """folder of that table; ``None``: the run's own"""

    @model_validator(mode="after")
    def _has_statistics(self) -> Self:
        if self.network.batch_norm == "fixed" and self.weights == "none" and self.start is None:
            raise ValueError(
                "network.batch_norm is 'fixed' and weights is 'none': random weights have no "
                "statistics to keep; use batch_norm 'batch' or weights 'imagenet'"
            )
        return self
