"""Predictions added to an output: each image once, whoever adds, however often it is killed."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import pandas
import pytest
from click.testing import CliRunner

from bundles import write_untrained
from pulmospark.cli.main import cli
from pulmospark.config.inference import AppendSettings, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.data.ingest.ingest import ingest
from pulmospark.inference.batch import append as append_module
from pulmospark.inference.batch.dry_run import dry_run
from pulmospark.inference.batch.predict import plan_predict, predict
from pulmospark.inference.batch.result import PredictResult
from pulmospark.lake.append import append_version
from pulmospark.lake.table import find_table, open_table
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from store.conftest import bucket, s3_endpoint

__all__ = ["bucket", "s3_endpoint"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("bundles") / "untrained")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def images(shared_data: Path, tmp_path: Path) -> Path:
    """A folder with three images and a file that is none."""
    folder = tmp_path / "archive"
    folder.mkdir()
    found = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:5]
    for number, path in enumerate(found):
        (folder if number < 3 else tmp_path).joinpath(f"{number}.png").write_bytes(
            path.read_bytes()
        )
    (folder / "broken.png").write_bytes(b"broken")
    return folder


@pytest.fixture(params=["disk", "store"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "disk":
        return tmp_path / "out"
    return request.getfixturevalue("bucket") / "nightly/out"


def _add(bundle: Path, images: Path, out: Any, **settings: Any) -> PredictResult:
    chosen = AppendSettings(**settings)
    return predict(bundle, [str(images)], out, None, append=chosen, quiet=True)


def _names(out: Any, table: str = "predictions", version: int | None = None) -> list[str]:
    rows = open_table(out / table, version).to_pyarrow_table()
    return sorted(Path(uri).name for uri in rows["uri"].to_pylist())


def _counts(result: PredictResult) -> tuple[int, int, int, int]:
    return result.images, result.rejects, result.already, result.repeats


def test_nightly_runs_over_a_growing_folder(bundle: Path, images: Path, out: Any) -> None:
    first = _add(bundle, images, out)
    assert (*_counts(first), first.version) == (3, 1, 0, 0, 0)
    shutil.copy(images.parent / "3.png", images / "3.png")
    shutil.copy(images / "0.png", images / "a copy.png")
    second = _add(bundle, images, out)
    assert (*_counts(second), second.version) == (2, 0, 4, 1, 1)
    third = _add(bundle, images, out)
    assert (*_counts(third), third.version) == (0, 0, 6, 0, 1)
    assert _names(out) == ["0.png", "1.png", "2.png", "3.png"]
    assert _names(out, version=0) == ["0.png", "1.png", "2.png"]
    assert _names(out, "rejects") == ["broken.png"]
    assert _names(out, "repeats") == ["a copy.png"]


def test_a_changed_file_and_another_model_are_scored(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _add(bundle, images, out)
    shutil.copy(tmp_path / "4.png", images / "0.png")
    assert _counts(_add(bundle, images, out)) == (1, 0, 3, 0)
    other = write_untrained(tmp_path / "other", seed=2)
    assert _counts(_add(other, images, out)) == (3, 0, 1, 0)
    rows = open_table(out / "predictions").to_pyarrow_table().to_pandas()
    assert rows.groupby("model_id").size().tolist() in ([4, 3], [3, 4])
    assert not rows.duplicated(["image_id", "model_id"]).any()


def test_rescoring_adds_rows_once_even_if_it_is_killed(
    bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _add(bundle, images, out)
    commit = append_version

    def killed(table: Any, *args: Any, **settings: Any) -> int:
        version = commit(table, *args, **settings)
        if table.name == "predictions":
            raise KeyboardInterrupt
        return version

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(append_module, "append_version", killed)
        _add(bundle, images, out, rescore=True)
    assert len(_names(out)) == 6
    shutil.copy(tmp_path / "3.png", images / "3.png")
    assert _counts(_add(bundle, images, out, rescore=True))[0] == 1
    assert len(_names(out)) == 7
    assert _names(out, "rejects") == ["broken.png"]
    assert _counts(_add(bundle, images, out, rescore=True)) == (4, 1, 0, 0)
    assert len(_names(out)) == 11


def test_two_that_add_the_same_folder_at_once_add_it_once(
    bundle: Path, images: Path, bucket: StoreUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = bucket / "out"
    before = append_module.Appending.before
    second: list[PredictResult] = []

    def slow(self: Any, begun: datetime) -> Any:
        known = before(self, begun)
        if self.out == out and not second and find_table(out / "predictions") is None:
            second.append(  # another machine is faster
                _add_elsewhere(bundle, images, out, tmp_path, monkeypatch)
            )
        return known

    def _add_elsewhere(*args: Any) -> PredictResult:
        with monkeypatch.context() as patch:
            patch.setattr(append_module.Appending, "before", before)
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
            return _add(bundle, images, out)

    with monkeypatch.context() as patch:
        patch.setattr(append_module.Appending, "before", slow)
        mine = _add(bundle, images, out)
    assert second[0].images == mine.images == 3
    assert _names(out) == ["0.png", "1.png", "2.png"]
    assert _names(out, "rejects") == ["broken.png"]
    assert mine.repeats == 0


def test_an_output_that_was_replaced_before_and_its_files(
    bundle: Path, images: Path, out: Any
) -> None:
    predict(bundle, [str(images / "0.png"), str(images / "1.png")], out, None, quiet=True)
    result = _add(bundle, images, out)
    assert _counts(result) == (1, 1, 2, 0)
    assert _names(out) == ["0.png", "1.png", "2.png"]
    if isinstance(out, StoreUri):
        names = {s.uri.key[len(out.prefix) :] for s in open_store(out).list(out.prefix)}
        record = json.loads(open_store(out).get(f"{out.prefix}predict.json"))
    else:
        names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        record = json.loads((out / "predict.json").read_text())
        assert not list(out.parent.glob(".out*"))
    assert record["result"]["version"] == result.version == 1
    (run,) = {name.split("/")[1] for name in names if name.startswith("runs/")}
    assert {f"runs/{run}/{name}" for name in ("predictions.csv", "rejects.csv")} < names
    assert "predictions.csv" not in names  # it would lack what was added


def test_partitions_by_the_date_of_scoring(bundle: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["predict", str(bundle), str(images), "--out", str(out), "--append"]
    done = CliRunner().invoke(cli, [*line, "--partition-by", "date"])
    assert done.exit_code == 0, done.output
    assert "predictions table: version 0" in done.output
    shutil.copy(tmp_path / "3.png", images / "3.png")
    done = CliRunner().invoke(cli, line)  # as the tables are
    assert "scored before: 4 files, not read again" in done.output, done.output
    days = {path.name for path in (out / "predictions").glob("date=*")}
    assert days <= {f"date={datetime.now(UTC):%Y-%m-%d}", *days}
    assert deltalake.DeltaTable(out / "predictions").metadata().partition_columns == ["date"]
    plain = pandas.read_parquet(out / "predictions")
    assert len(plain) == 4
    assert {f"date={day}" for day in plain["date"].astype(str)} == days
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0, done.output
    assert "scored before: 5 files, not read again" in done.output


def test_rows_of_an_images_table_are_added_once(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    images = images.rename(tmp_path / "set/normal")
    source, settings = (
        [SourceSettings(path=tmp_path / "set", layout="class_folders")],
        IngestSettings(size=64),
    )
    ingest(source, settings, tmp_path / "tables", None, quiet=True)
    out, table = tmp_path / "out", tmp_path / "tables/images"
    assert _counts(_add(bundle, table, out)) == (3, 0, 0, 0)
    assert _counts(_add(bundle, table, out)) == (0, 0, 3, 0)
    shutil.copy(tmp_path / "3.png", images / "3.png")
    ingest(source, settings, tmp_path / "tables", None, quiet=True)
    assert _counts(_add(bundle, table, out))[0] in (1, 4)
    assert _names(out) == ["0.png", "1.png", "2.png", "3.png"]


def test_a_dry_run_counts_what_is_new(bundle: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _add(bundle, images, out)
    shutil.copy(tmp_path / "3.png", images / "3.png")
    plan = plan_predict(bundle, [str(images)], out, append=AppendSettings())
    told = dry_run(plan, quiet=True)
    assert (told.files, told.replaces) == (1, False)


def test_what_cannot_be_added_is_refused_before_the_work(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out, append = tmp_path / "out", AppendSettings()
    with pytest.raises(UsageError, match="needs --out"):
        plan_predict(bundle, [str(images / "0.png")], None, append=append)
    with pytest.raises(UsageError, match="omit --heatmaps"):
        settings = ScoringSettings(heat_maps="png")
        plan_predict(bundle, [str(images)], out, append=append, settings=settings)
    _add(bundle, images, out)
    with pytest.raises(InputError, match="partitioned by nothing: omit --partition-by"):
        plan_predict(bundle, [str(images)], out, append=AppendSettings(partition_by="date"))
    record = json.loads((out / "predict.json").read_text())
    record["result"]["classes"].reverse()
    (out / "predict.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="in that order: choose another --out"):
        plan_predict(bundle, [str(images)], out, append=append)
    done = CliRunner().invoke(cli, ["predict", str(bundle), str(images), "--rescore"])
    assert isinstance(done.exception, UsageError)
