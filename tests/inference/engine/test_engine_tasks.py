"""Names of what the workers write: another where the output would be another."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.engine.tasks import FeatureWork, ScoreWork, write_scored
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


def _chunk(pixel: int = 0, uri: str = "/images/00004.png") -> pa.Table:
    return pa.table({"image_id": ["a"], "uri": [uri], "pixels": [bytes([pixel]) * (SIZE * SIZE)]})


def test_features_of_other_pixels_or_networks_have_another_name() -> None:
    work = FeatureWork(_ENGINE, SIZE)
    assert work.key(_chunk()) == work.key(_chunk())
    # The same file, standardised in another way, has the same image_id.
    assert work.key(_chunk(1)) != work.key(_chunk())
    assert work.key(_chunk(uri="/images/b.png")) != work.key(_chunk())
    other = FeatureWork(_ENGINE.model_copy(update={"engine_id": "two"}), SIZE)
    assert other.key(_chunk()) != work.key(_chunk())


def test_scores_follow_the_cohort_and_the_pixels(tmp_path: Path) -> None:
    _, cohort = write_toy(tmp_path / "one", 15)
    scored = tmp_path / "scored.npy"
    write_scored(cohort, None, scored)
    work = ScoreWork(_ENGINE, SIZE, "final", str(scored), "id-1")
    before = work.key(_chunk())
    assert work.key(_chunk(1)) != before
    _, other = write_toy(tmp_path / "two", 3)  # where the image validates no longer
    write_scored(other, None, scored)
    again = ScoreWork(_ENGINE, SIZE, "final", str(scored), "id-2")
    assert again.key(_chunk()) != before


def test_scored_are_the_images_that_are_tested_or_validated(tmp_path: Path) -> None:
    _, cohort = write_toy(tmp_path, 15)
    rows = pq.read_table(cohort / "table").to_pylist()
    write_scored(cohort, None, tmp_path / "scored.npy")
    work = ScoreWork(_ENGINE, SIZE, "final", str(tmp_path / "scored.npy"), "id")
    wanted = work._wanted(pa.table({"uri": [*(row["uri"] for row in rows), "/another.png"]}))
    assert wanted.tolist() == [*(row["split"] in {"validation", "test"} for row in rows), False]
