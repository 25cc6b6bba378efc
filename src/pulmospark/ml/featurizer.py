"""``ImageFeaturizer``: deep features of images, for any Spark ML estimator."""

# ruff: noqa: N802, N815 - Spark ML writes params and their accessors in camelCase

from __future__ import annotations

from typing import Self, TypedDict, Unpack

from pyspark.ml.base import Transformer
from pyspark.ml.param import Param, Params
from pyspark.ml.param.shared import HasOutputCol, HasSeed
from pyspark.sql import DataFrame

from pulmospark.core import limits
from pulmospark.ml import columns
from pulmospark.ml.networks import feature_engine, start_of
from pulmospark.ml.params import DEFAULT_SEED, HasImages, HasNetwork, whole
from pulmospark.ml.stored import StoredParams
from pulmospark.ml.worker import featurizer


class FeaturizerParams(TypedDict, total=False):
    """Keyword params of :class:`ImageFeaturizer`."""

    inputCol: str
    outputCol: str
    modelName: str
    weights: str
    inputKind: str
    imageSize: int
    resizeMode: str
    handleInvalid: str
    batchSize: int
    workDir: str
    seed: int


class ImageFeaturizer(
    Transformer,
    HasImages,
    HasNetwork,
    HasOutputCol,
    HasSeed,
    StoredParams,
):
    """Deep features of a frozen network, as a vector column.

    It replaces sparkdl's ``DeepImageFeaturizer(inputCol, outputCol, modelName)``: the output can
    be passed directly to ``LogisticRegression``.

        images = spark.read.format("binaryFile").load("images")
        featurizer = ImageFeaturizer(inputCol="content", modelName="mobilenet_v2")
        features = featurizer.transform(images)

    The param ``inputKind`` sets what ``inputCol`` holds. The Python workers read the images and
    run the network, in float32, one thread each; all other columns are unchanged. The network is
    written once to ``workDir``, which every worker must see under the same path: the default
    cache folder works on one machine, a cluster needs a folder on shared storage.

    Params are checked when set, columns and weights by ``transform``. Invalid rows are detected
    when Spark runs, see ``handleInvalid``; the ``PythonException`` then has a line with the row's
    path and the reason.
    """

    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "images per inference batch on a CPU.",
        typeConverter=whole("batchSize", 1, limits.ENGINE_BATCH_MAX),
    )

    def __init__(self, **params: Unpack[FeaturizerParams]) -> None:
        super().__init__()
        self._setDefault(outputCol="features", batchSize=limits.ENGINE_BATCH, seed=DEFAULT_SEED)
        self._set(**params)

    def setParams(self, **params: Unpack[FeaturizerParams]) -> Self:
        """Sets the params that are given."""
        return self._set(**params)

    def getBatchSize(self) -> int:
        """Gets the value of batchSize or its default value."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Self:
        """Sets the value of batchSize."""
        return self._set(batchSize=value)

    def setOutputCol(self, value: str) -> Self:
        """Sets the value of outputCol."""
        return self._set(outputCol=value)

    def setSeed(self, value: int) -> Self:
        """Sets the value of seed, used by weights='none'."""
        return self._set(seed=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        target = self.getOutputCol()
        columns.free(dataset, {"outputCol": target})
        kind = columns.input_kind(dataset, self.getInputCol(), self.getInputKind())
        # Features do not depend on the head: use the minimum of two classes.
        start = start_of(self, 2, self.getSeed())
        reader = start.reader(kind, self.getHandleInvalid())
        engine = feature_engine(
            start.network, self._work_folder(), start.size, self.getBatchSize()
        )
        extended = columns.with_images(
            dataset,
            self.getInputCol(),
            reader,
            featurizer(reader, engine),
            kind="array<float>",
            target=target,
        )
        features = columns.vector(columns.column(target))
        metadata = {"ml_attr": {"num_attrs": engine.width}}
        return extended.withColumn(target, features.alias(target, metadata=metadata))
