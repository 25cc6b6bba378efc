"""Shared params, and the converters that check values when they are set."""

# ruff: noqa: N802, N815 - Spark ML writes params and their accessors in camelCase

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasInputCol,
    HasLabelCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
)

from pulmospark.core.errors import UsageError
from pulmospark.core.locations import local_path, local_text
from pulmospark.core.machine import cache_folder
from pulmospark.ml.image_reader import Invalid

INPUT_KINDS = ("auto", "bytes", "image", "pixels")
RESIZES = ("stretch", "pad", "crop")
INVALIDS = ("error", "skip", "keep")
METHODS = ("features", "network")
DEFAULT_SEED = 20201
"""the same in every process, unlike Spark's default (a hash of the name)"""


def choice(name: str, allowed: tuple[str, ...]) -> Callable[[Any], str]:
    """A converter that accepts one of several strings."""

    def convert(value: Any) -> str:
        if value not in allowed:
            raise UsageError(f"{name}: {value!r}: choose one of {', '.join(allowed)}")
        return str(value)

    return convert


def whole(name: str, least: int, most: int) -> Callable[[Any], int]:
    """A converter that accepts an integer in a range."""

    def convert(value: Any) -> int:
        number = TypeConverters.toInt(value)
        if not least <= number <= most:
            raise UsageError(f"{name}: {number}: must be {least} to {most}")
        return number

    return convert


def path_text(name: str) -> Callable[[Any], str]:
    """A converter that accepts a path or ``file:`` URI and stores the path."""

    def convert(value: Any) -> str:
        try:
            return local_text(TypeConverters.toString(value))
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}") from error

    return convert


class HasWorkDir(Params):
    """Mixin for param workDir."""

    workDir: Param[str] = Param(
        Params._dummy(),
        "workDir",
        "folder for engines, temporary tables and fitted models; the driver and every worker "
        "must see it under this path. Empty: pulmospark's cache folder.",
        typeConverter=path_text("workDir"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(workDir="")

    def getWorkDir(self) -> str:
        """Gets the value of workDir or its default value."""
        return self.getOrDefault(self.workDir)

    def setWorkDir(self, value: str) -> Self:
        """Sets the value of workDir."""
        return self._set(workDir=value)

    def _work_folder(self) -> Path:
        work = self.getWorkDir()
        return local_path(work).expanduser().absolute() if work else cache_folder().absolute()


class HasImages(HasInputCol, HasWorkDir):
    """Mixin for the column with the images: inputCol, inputKind, handleInvalid, workDir."""

    inputKind: Param[str] = Param(
        Params._dummy(),
        "inputKind",
        "what inputCol holds: 'bytes' of an image file (the content of binaryFile), 'image' of "
        "Spark's image schema, 'pixels' of an images table (side x side uint8 grey), or 'auto': "
        "a struct is an image, a binary column named 'pixels' is pixels, another is bytes.",
        typeConverter=choice("inputKind", INPUT_KINDS),
    )
    handleInvalid: Param[str] = Param(
        Params._dummy(),
        "handleInvalid",
        "what to do with a row that is not a readable image: 'error', 'skip' (drop the row) or "
        "'keep' (its results are null; fit excludes it).",
        typeConverter=choice("handleInvalid", INVALIDS),
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(inputCol="content", inputKind="auto", handleInvalid="error")

    def setInputCol(self, value: str) -> Self:
        """Sets the value of inputCol."""
        return self._set(inputCol=value)

    def getInputKind(self) -> str:
        """Gets the value of inputKind or its default value."""
        return self.getOrDefault(self.inputKind)

    def setInputKind(self, value: str) -> Self:
        """Sets the value of inputKind."""
        return self._set(inputKind=value)

    def getHandleInvalid(self) -> Invalid:
        """Gets the value of handleInvalid or its default value."""
        return cast(Invalid, self.getOrDefault(self.handleInvalid))

    def setHandleInvalid(self, value: str) -> Self:
        """Sets the value of handleInvalid."""
        return self._set(handleInvalid=value)


class HasNetwork(Params):
    """Mixin for the network: modelName, weights, imageSize, resizeMode."""

    modelName: Param[str] = Param(
        Params._dummy(),
        "modelName",
        "name of a network in pulmospark's zoo; default for weights from a bundle: the "
        "bundle's network.",
        typeConverter=TypeConverters.toString,
    )
    weights: Param[str] = Param(
        Params._dummy(),
        "weights",
        "'imagenet' (from PULMOSPARK_WEIGHTS, the cache or the hub), 'none' (random, from the "
        "seed), the path of a file or folder with ImageNet weights, or the path of a bundle.",
        typeConverter=path_text("weights"),
    )
    imageSize: Param[int] = Param(
        Params._dummy(),
        "imageSize",
        "side of the network's input image, pixels; 0: from the bundle, or the network's default "
        "size.",
        typeConverter=TypeConverters.toInt,
    )
    resizeMode: Param[str] = Param(
        Params._dummy(),
        "resizeMode",
        "how non-square images are made square: 'stretch', 'pad' or 'crop'; default for weights "
        "from a bundle: as in the bundle.",
        typeConverter=choice("resizeMode", RESIZES),
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            modelName="mobilenet_v2", weights="imagenet", imageSize=0, resizeMode="stretch"
        )

    def getModelName(self) -> str:
        """Gets the value of modelName or its default value."""
        return self.getOrDefault(self.modelName)

    def setModelName(self, value: str) -> Self:
        """Sets the value of modelName."""
        return self._set(modelName=value)

    def getWeights(self) -> str:
        """Gets the value of weights or its default value."""
        return self.getOrDefault(self.weights)

    def setWeights(self, value: str) -> Self:
        """Sets the value of weights."""
        return self._set(weights=value)

    def getImageSize(self) -> int:
        """Gets the value of imageSize or its default value."""
        return self.getOrDefault(self.imageSize)

    def setImageSize(self, value: int) -> Self:
        """Sets the value of imageSize."""
        return self._set(imageSize=value)

    def getResizeMode(self) -> str:
        """Gets the value of resizeMode or its default value."""
        return self.getOrDefault(self.resizeMode)

    def setResizeMode(self, value: str) -> Self:
        """Sets the value of resizeMode."""
        return self._set(resizeMode=value)


class HasPredictions(HasLabelCol, HasPredictionCol, HasProbabilityCol, HasRawPredictionCol):
    """Mixin for the label and the columns of a prediction; an empty name omits a column."""

    predictionLabelCol: Param[str] = Param(
        Params._dummy(),
        "predictionLabelCol",
        "column for the predicted class's name; empty: none.",
        typeConverter=TypeConverters.toString,
    )

    cautionsCol: Param[str] = Param(
        Params._dummy(),
        "cautionsCol",
        "column for why a prediction may be meaningless, an array, see core.tables.Caution; "
        "empty: none.",
        typeConverter=TypeConverters.toString,
    )
    distanceCol: Param[str] = Param(
        Params._dummy(),
        "distanceCol",
        "column for the distance from the training images, null where it is not assessable; "
        "empty: none.",
        typeConverter=TypeConverters.toString,
    )
    allowPhantomModel: Param[bool] = Param(
        Params._dummy(),
        "allowPhantomModel",
        "allow a model trained on phantoms to score other images.",
        typeConverter=TypeConverters.toBoolean,
    )
    anyBodyPart: Param[bool] = Param(
        Params._dummy(),
        "anyBodyPart",
        "also read DICOM images whose header names a body part other than the chest.",
        typeConverter=TypeConverters.toBoolean,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            predictionLabelCol="",
            cautionsCol="cautions",
            distanceCol="",
            allowPhantomModel=False,
            anyBodyPart=False,
        )

    def getCautionsCol(self) -> str:
        """Gets the value of cautionsCol or its default value."""
        return self.getOrDefault(self.cautionsCol)

    def setCautionsCol(self, value: str) -> Self:
        """Sets the value of cautionsCol."""
        return self._set(cautionsCol=value)

    def getDistanceCol(self) -> str:
        """Gets the value of distanceCol or its default value."""
        return self.getOrDefault(self.distanceCol)

    def setDistanceCol(self, value: str) -> Self:
        """Sets the value of distanceCol."""
        return self._set(distanceCol=value)

    def getAllowPhantomModel(self) -> bool:
        """Gets the value of allowPhantomModel or its default value."""
        return self.getOrDefault(self.allowPhantomModel)

    def setAllowPhantomModel(self, value: bool) -> Self:
        """Sets the value of allowPhantomModel."""
        return self._set(allowPhantomModel=value)

    def getAnyBodyPart(self) -> bool:
        """Gets the value of anyBodyPart or its default value."""
        return self.getOrDefault(self.anyBodyPart)

    def setAnyBodyPart(self, value: bool) -> Self:
        """Sets the value of anyBodyPart."""
        return self._set(anyBodyPart=value)

    def setLabelCol(self, value: str) -> Self:
        """Sets the value of labelCol."""
        return self._set(labelCol=value)

    def setPredictionCol(self, value: str) -> Self:
        """Sets the value of predictionCol."""
        return self._set(predictionCol=value)

    def setProbabilityCol(self, value: str) -> Self:
        """Sets the value of probabilityCol."""
        return self._set(probabilityCol=value)

    def setRawPredictionCol(self, value: str) -> Self:
        """Sets the value of rawPredictionCol."""
        return self._set(rawPredictionCol=value)

    def getPredictionLabelCol(self) -> str:
        """Gets the value of predictionLabelCol or its default value."""
        return self.getOrDefault(self.predictionLabelCol)

    def setPredictionLabelCol(self, value: str) -> Self:
        """Sets the value of predictionLabelCol."""
        return self._set(predictionLabelCol=value)
