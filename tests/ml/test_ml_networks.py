"""Networks that the classes for Spark ML start from, without Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import write_untrained
from pulmospark.ml import CnnClassifier, ImageFeaturizer
from pulmospark.ml.networks import start_of


def test_a_bundle_s_own_images_are_kept_but_for_what_params_set(tmp_path: Path) -> None:
    bundle = write_untrained(tmp_path / "bundle", crop="lungs", ct_window="soft")
    for params in (CnnClassifier(weights=str(bundle)), ImageFeaturizer(weights=str(bundle))):
        settings = start_of(params, 3, 1).reader("bytes", "error").settings
        assert (settings.crop, settings.ct_window, settings.size) == ("lungs", "soft", 64)
    asked = CnnClassifier(weights=str(bundle), imageSize=96, resizeMode="pad")
    settings = start_of(asked, 3, 1).settings
    assert (settings.size, settings.fit, settings.ct_window) == (96, "pad", "soft")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_bundle_s_own_standardisation_is_kept(tmp_path: Path, classes: int) -> None:
    zoo_s = start_of(CnnClassifier(modelName="basic_cnn", weights="none"), classes, 1).network
    mean = tuple(value / 2 for value in zoo_s.channel_mean)
    bundle = write_untrained(tmp_path / "bundle", mean=mean)
    assert start_of(CnnClassifier(weights=str(bundle)), classes, 1).network.channel_mean == mean
