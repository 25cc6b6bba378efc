"""Classes for Spark ML pipelines: ``ImageFeaturizer``, ``CnnClassifier``, ``CnnClassifierModel``.

from pulmospark.ml import CnnClassifier, CnnClassifierModel, ImageFeaturizer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulmospark.core.extras import check_pyspark

if TYPE_CHECKING:
    from pulmospark.ml.classifier import CnnClassifier
    from pulmospark.ml.featurizer import ImageFeaturizer
    from pulmospark.ml.model import CnnClassifierModel

__all__ = ["CnnClassifier", "CnnClassifierModel", "ImageFeaturizer"]


def __getattr__(name: str) -> Any:
    """Import a class on first use: workers import this package without torch."""
    if name in __all__:
        check_pyspark()
    if name == "ImageFeaturizer":
        from pulmospark.ml.featurizer import ImageFeaturizer  # noqa: PLC0415

        return ImageFeaturizer
    if name == "CnnClassifier":
        from pulmospark.ml.classifier import CnnClassifier  # noqa: PLC0415

        return CnnClassifier
    if name == "CnnClassifierModel":
        from pulmospark.ml.model import CnnClassifierModel  # noqa: PLC0415

        return CnnClassifierModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
