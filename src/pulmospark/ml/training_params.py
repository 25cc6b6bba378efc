"""Training params of :class:`~pulmospark.ml.classifier.CnnClassifier`."""

# ruff: noqa: N802, N815 - Spark ML writes params and their accessors in camelCase

from __future__ import annotations

from typing import Self

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasElasticNetParam,
    HasMaxIter,
    HasRegParam,
    HasSeed,
    HasValidationIndicatorCol,
)

from pulmospark.config.train import LogisticSettings, NetworkOptions
from pulmospark.ml.params import DEFAULT_SEED, METHODS, choice
from pulmospark.training.logistic_fit import UNTUNED_REG_PARAM


class HasTraining(HasMaxIter, HasRegParam, HasElasticNetParam, HasValidationIndicatorCol, HasSeed):
    """Mixin for the params of training; their ranges are checked by ``fit``."""

    method: Param[str] = Param(
        Params._dummy(),
        "method",
        "'features': logistic regression on deep features of the frozen network; 'network': "
        "fine-tuning of the CNN.",
        typeConverter=choice("method", METHODS),
    )
    classes: Param[list[str]] = Param(
        Params._dummy(),
        "classes",
        "names of the classes in the order of the index; empty: from labelCol.",
        typeConverter=TypeConverters.toListString,
    )
    epochs: Param[int] = Param(
        Params._dummy(),
        "epochs",
        "passes over the training images (method 'network').",
        typeConverter=TypeConverters.toInt,
    )
    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "images per step over all processes; default: the model's recipe (method 'network').",
        typeConverter=TypeConverters.toInt,
    )
    learningRate: Param[float] = Param(
        Params._dummy(),
        "learningRate",
        "peak learning rate of the schedule; default: the model's recipe (method 'network').",
        typeConverter=TypeConverters.toFloat,
    )
    numProcesses: Param[int] = Param(
        Params._dummy(),
        "numProcesses",
        "training processes; Spark needs a free slot for each (method 'network').",
        typeConverter=TypeConverters.toInt,
    )

    def __init__(self) -> None:
        super().__init__()
        logistic, network = LogisticSettings(), NetworkOptions()
        self._setDefault(
            method="features",
            classes=[],
            maxIter=logistic.max_iter,
            regParam=UNTUNED_REG_PARAM,
            elasticNetParam=logistic.elastic_net_param,
            epochs=network.epochs,
            numProcesses=1,
            seed=DEFAULT_SEED,
        )

    def getMethod(self) -> str:
        """Gets the value of method or its default value."""
        return self.getOrDefault(self.method)

    def setMethod(self, value: str) -> Self:
        """Sets the value of method."""
        return self._set(method=value)

    def getClasses(self) -> list[str]:
        """Gets the value of classes or its default value."""
        return self.getOrDefault(self.classes)

    def setClasses(self, value: list[str]) -> Self:
        """Sets the value of classes."""
        return self._set(classes=value)

    def getEpochs(self) -> int:
        """Gets the value of epochs or its default value."""
        return self.getOrDefault(self.epochs)

    def setEpochs(self, value: int) -> Self:
        """Sets the value of epochs."""
        return self._set(epochs=value)

    def getBatchSize(self) -> int:
        """Gets the value of batchSize; it must be set."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Self:
        """Sets the value of batchSize."""
        return self._set(batchSize=value)

    def getLearningRate(self) -> float:
        """Gets the value of learningRate; it must be set."""
        return self.getOrDefault(self.learningRate)

    def setLearningRate(self, value: float) -> Self:
        """Sets the value of learningRate."""
        return self._set(learningRate=value)

    def getNumProcesses(self) -> int:
        """Gets the value of numProcesses or its default value."""
        return self.getOrDefault(self.numProcesses)

    def setNumProcesses(self, value: int) -> Self:
        """Sets the value of numProcesses."""
        return self._set(numProcesses=value)

    def setMaxIter(self, value: int) -> Self:
        """Sets the value of maxIter."""
        return self._set(maxIter=value)

    def setRegParam(self, value: float) -> Self:
        """Sets the value of regParam."""
        return self._set(regParam=value)

    def setElasticNetParam(self, value: float) -> Self:
        """Sets the value of elasticNetParam."""
        return self._set(elasticNetParam=value)

    def setValidationIndicatorCol(self, value: str) -> Self:
        """Sets the value of validationIndicatorCol."""
        return self._set(validationIndicatorCol=value)

    def setSeed(self, value: int) -> Self:
        """Sets the value of seed."""
        return self._set(seed=value)
