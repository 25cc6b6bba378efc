"""Arms of a comparison two by two."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError
from pulmospark.experiment.compare.arm_pairs import pairs_of

_CLASSES = ("covid", "normal")
_EXPERIMENT = Experiment(
    sources=(SourceSettings(path=Path("images")),), evaluate=EvaluateSettings(replicates=100)
)
_SURE = {"covid": [0.9, 0.1], "normal": [0.2, 0.8]}


def _write(folder: Path, images: list[str], *, wrong: int = 0) -> Path:
    """Predictions of images, the first ``wrong`` of them wrong."""
    labels = [_CLASSES[n % 2] for n in range(len(images))]
    said = [_CLASSES[(n + (n < wrong)) % 2] for n in range(len(images))]
    target = folder / "evaluation" / "predictions"
    target.mkdir(parents=True)
    table = pa.table(
        {
            "uri": images,
            "group_id": images,
            "label": labels,
            "probability": [_SURE[name] for name in said],
        }
    )
    pq.write_table(table, target / "0.parquet")
    return target


def test_rows_are_paired_whatever_their_order(tmp_path: Path) -> None:
    images = [f"/images/{n}.png" for n in range(10)]
    one, two = _write(tmp_path / "a", images), _write(tmp_path / "b", images, wrong=3)
    rows = pq.read_table(two)
    pq.write_table(rows.take(list(range(9, -1, -1))), two / "0.parquet")
    (pair,) = pairs_of(_EXPERIMENT, _CLASSES, {"a": one, "b": two})
    assert (pair.first, pair.second) == ("a", "b")
    assert pair.compared.difference.value == pytest.approx(0.3)
    assert (pair.compared.only_first, pair.compared.only_second) == (3, 0)


def test_arms_tested_on_other_images_are_not_paired(tmp_path: Path) -> None:
    images = [f"/images/{n}.png" for n in range(10)]
    one = _write(tmp_path / "a", images)
    two = _write(tmp_path / "b", [*images[:-1], "/images/another.png"])
    with pytest.raises(InputError, match=r"b/evaluation.*other images than a.*remove .*/b and"):
        pairs_of(_EXPERIMENT, _CLASSES, {"a": one, "b": two})
