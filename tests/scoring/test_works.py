"""Names of what the workers write: another where the output would be another."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pulmospark.scoring.engine import EngineSpec
from pulmospark.scoring.works import FeatureWork, ScoreWork
from training.toys import SIZE, write_toy

_ENGINE = EngineSpec(
    kind="torch",
    folder="",
    engine_id="one",
    model="basic_cnn",
    outputs="both",
    size=SIZE,
    classes=2,
    width=128,
    mean=(0.5,),
    std=(0.25,),
    batch=2,
)


def _chunk(pixel: int = 0, uri: str = "/films/00004.png") -> pa.Table:
    return pa.table({"image_id": ["a"], "uri": [uri], "pixels": [bytes([pixel]) * (SIZE * SIZE)]})


def test_features_of_other_pixels_or_networks_have_another_name() -> None:
    work = FeatureWork(_ENGINE, SIZE)
    assert work.key(_chunk()) == work.key(_chunk())
    # The same file, standardised in another way, has the same image_id.
    assert work.key(_chunk(1)) != work.key(_chunk())
    assert work.key(_chunk(uri="/films/b.png")) != work.key(_chunk())
    other = FeatureWork(_ENGINE.model_copy(update={"engine_id": "two"}), SIZE)
    assert other.key(_chunk()) != work.key(_chunk())


def test_scores_follow_the_cohort_and_the_pixels(tmp_path: Path) -> None:
    _, cohort = write_toy(tmp_path / "one", 15)
    work = ScoreWork(_ENGINE, SIZE, "final", str(cohort), "id-1", None)
    before = work.key(_chunk())
    assert work.key(_chunk(1)) != before
    rest = cohort / "table" / "0.parquet"
    _, other = write_toy(tmp_path / "two", 3)  # where the film validates no longer
    rest.write_bytes((other / "table" / "0.parquet").read_bytes())
    again = ScoreWork(_ENGINE, SIZE, "final", str(cohort), "id-2", None)
    assert again.key(_chunk()) != before
