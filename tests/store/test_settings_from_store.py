"""An experiment whose TOML file, sheet, weights and start lie in a store."""

from __future__ import annotations

from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import pulmospark as ps
from bundles import write_untrained
from pulmospark.cli.main import cli
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.store_uri import below, parse_uri
from pulmospark.data.ingest.ingest import ingest
from pulmospark.experiment.check import check_experiment
from pulmospark.experiment.run_folder import open_experiment, with_changes
from pulmospark.layouts.sources import open_source
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.models.weights.local_files import VARIABLE, find_local
from pulmospark.models.zoo.catalogue import entry
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

TOML = """
name = "mine"
[[sources]]
path = "study.csv"
[classes]
covid = ["0"]
normal = ["1"]
[train]
model = "basic_cnn"
method = "network"
start = "models/first"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pulmospark"


@pytest.fixture
def images(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:3]


def _put_study(bucket: StoreUri, images: list[Path]) -> None:
    for path in images:
        boto3.client("s3").upload_file(str(path), bucket.bucket, f"exp/images/{path.name}")
    rows = "".join(f"images/{path.name},{n % 2}\n" for n, path in enumerate(images))
    open_store(bucket).put("exp/study.csv", f"path,label\n{rows}".encode())


def test_relative_paths_are_taken_from_the_address_of_the_experiment(
    bucket: StoreUri, images: list[Path], tmp_path: Path
) -> None:
    open_store(bucket).put("exp/my.toml", TOML.encode())
    _put_study(bucket, images)
    for path in write_untrained(tmp_path / "first").iterdir():
        boto3.client("s3").upload_file(str(path), bucket.bucket, f"exp/models/first/{path.name}")
    experiment, run = open_experiment(bucket / "exp/my.toml", {})
    assert experiment.sources[0].path == bucket / "exp/study.csv"
    assert experiment.train.start == bucket / "exp/models/first"
    assert run.place == bucket / "exp/runs/mine"
    plan = check_experiment(experiment)
    assert plan.sources == (f"study.csv: {bucket}exp/study.csv, csv",)
    # As the run's folder keeps them.
    again = type(experiment).model_validate_json(experiment.model_dump_json())
    assert again == experiment
    assert with_changes(experiment, {"out": "s3://other-bucket/x"}).out == StoreUri(
        "s3", "other-bucket", "x"
    )
    _, elsewhere = open_experiment(bucket / "exp/my.toml", {}, tmp_path / "here")
    assert elsewhere.place == tmp_path / "here"
    done = CliRunner().invoke(cli, ["run", f"{bucket}exp/my.toml", "--dry-run"])
    assert f"folder: {bucket}exp/runs/mine" in done.output.splitlines()


def test_a_sheet_in_a_store_names_images_below_it(
    bucket: StoreUri, images: list[Path], tmp_path: Path
) -> None:
    _put_study(bucket, images)
    source = SourceSettings(path=bucket / "exp/study.csv")
    result = ingest([source], IngestSettings(), tmp_path / "tables", None, quiet=True)
    assert (result.images, result.sources[0].path) == (3, f"{bucket}exp/study.csv")
    uris = pq.read_table(tmp_path / "tables/images")["uri"].to_pylist()
    assert sorted(uris) == sorted(f"{bucket}exp/images/{path.name}" for path in images)
    # A sheet here, whose cells are names below an address.
    (tmp_path / "here.csv").write_text(f"path,label\n{images[0].name},1\n")
    local = SourceSettings(path=tmp_path / "here.csv", options={"root": f"{bucket}exp/images"})
    assert ingest([local], IngestSettings(), tmp_path / "more", None, quiet=True).images == 1


def test_ingest_and_split_of_a_run_in_a_store(
    bucket: StoreUri, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put_study(bucket, images)
    out = f"{bucket}runs/study"
    line = ["ingest", f"{bucket}exp/study.csv", "--out", out, "--engine", "local"]
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0, done.output
    assert f"tables: {out}/tables" in done.output
    assert str(tmp_path) not in done.output
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    done = CliRunner().invoke(cli, ["ingest", out, "--engine", "local", "--json", "-q"])
    assert '"already": 3' in done.output
    frame = ps.read_table(f"{out}/tables/images", columns=["uri", "width"])
    assert len(frame) == 3


def test_only_sheets_can_be_sources_in_a_store(bucket: StoreUri) -> None:
    with pytest.raises(InputError, match="only a zip archive, or a CSV"):
        open_source(SourceSettings(path=bucket / "data/chest_xray"))
    with pytest.raises(InputError, match="no such object"):
        open_source(SourceSettings(path=bucket / "none.csv"))


def test_what_must_be_here_is_not_looked_for_in_a_store(bucket: StoreUri) -> None:
    toml = TOML + '[ingest]\nsalt_path = "my.salt"\n'
    open_store(bucket).put("exp/my.toml", toml.encode())
    with pytest.raises(UsageError, match=r"ingest.salt_path is 'my.salt'.*absolute path"):
        open_experiment(bucket / "exp/my.toml", {})
    with pytest.raises(UsageError, match=r"it has no published\.json"):
        open_experiment(bucket / "exp", {})
    open_store(bucket).put("exp/my.toml", b"\xff")
    with pytest.raises(UsageError, match=r"exp/my\.toml: not TOML"):
        open_experiment(bucket / "exp/my.toml", {})


def test_weights_are_copied_once(
    bucket: StoreUri, shared_weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = entry("squeezenet1_1")
    file = find_local(known, shared_weights)
    assert file is not None
    boto3.client("s3").upload_file(str(file), bucket.bucket, f"w/{file.name}")
    copied = find_local(known, bucket / "w")
    assert copied == find_local(known, bucket / f"w/{file.name}")
    assert copied is not None
    assert copied.is_relative_to(cache)
    assert copied.read_bytes() == file.read_bytes()
    monkeypatch.setenv(VARIABLE, f"{bucket}w")
    assert find_local(known) == copied
    with pytest.raises(PlatformError, match=f"{bucket}x: no ImageNet weights of squeezenet1_1"):
        find_local(known, bucket / "x")


def test_a_bundle_is_exported_from_a_store_and_to_it(bucket: StoreUri, tmp_path: Path) -> None:
    bundle = write_untrained(tmp_path / "bundle")
    for path in bundle.iterdir():
        boto3.client("s3").upload_file(str(path), bucket.bucket, f"run/bundle/{path.name}")
    assert read_bundle(bucket / "run").model_id == read_bundle(bundle).model_id
    line = ["export", f"{bucket}run/bundle", "--to", "openvino", "--out", f"{bucket}exported"]
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{bucket}exported: basic_cnn")
    names = {found.uri.name for found in open_store(bucket).list("exported/")}
    assert {name.rpartition(".")[2] for name in names} == {"xml", "bin"}
    open_store(bucket).put("theirs/thesis.txt", b"x")
    done = CliRunner().invoke(cli, [*line[:-1], f"{bucket}theirs"])
    assert "is not empty" in str(done.exception)


def test_below_takes_relative_paths_only() -> None:
    base = parse_uri("s3://hospital/exp")
    assert below(base, Path("a/b.csv")) == parse_uri("s3://hospital/exp/a/b.csv")
    assert below(base, Path("/a")) == Path("/a")
    assert below(Path("/x"), base) == base
    assert below(Path("/x"), Path("a")) == Path("/x/a")
