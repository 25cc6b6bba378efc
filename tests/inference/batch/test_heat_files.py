"""Heat maps that a prediction, a stream and the Python interface give."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

import pulmospark as ps
from bundles import write_untrained
from pulmospark.cli.main import cli
from pulmospark.config.inference import ScoringSettings
from pulmospark.core import files, schemas
from pulmospark.core.errors import BundleError, InputError, UsageError
from pulmospark.inference.batch import predict as batch
from pulmospark.inference.batch.predict import plan_predict
from pulmospark.inference.batch.scorer import prepare_here, with_heat_maps
from pulmospark.inference.batch.tasks import ImagesWork, Scorer
from pulmospark.inference.explain import Explainer
from pulmospark.inference.stream.tasks import StreamWork
from pulmospark.models.bundle.bundle import read_bundle


def settings(kinds: str = "png") -> ScoringSettings:
    return ScoringSettings(precision="fp32", heat_maps=kinds)  # type: ignore[arg-type]


def scorer_with_maps(bundle: Path, folder: Path) -> Scorer:
    read = read_bundle(bundle)
    scorer, _ = prepare_here(read, folder)
    return with_heat_maps(scorer, read, folder, "both", target=folder / "maps")


def test_one_image_has_its_files_its_columns_and_its_words(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    plan = plan_predict(
        bundle, [str(images / "a.png")], tmp_path / "out", settings=settings("both")
    )
    result = plan.run(None, quiet=True)
    assert result.heat_maps == 1
    image = result.image
    assert image is not None
    assert image.heat_map == f"heat_maps/{image.image_id[:2]}/{image.image_id}.png"
    assert image.hottest_tenth is not None
    assert image.hottest_tenth.endswith(" of the image")
    picture = tmp_path / "out" / image.heat_map
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
    heat = np.load(picture.with_suffix(".npy"), allow_pickle=False)
    assert heat.shape == (80, 70)
    model = ps.load(bundle)
    explained = model.explain(images / "a.png")
    np.testing.assert_allclose(heat, explained.map, atol=1e-5)
    assert explained.class_name == image.prediction
    assert explained.hottest_tenth() == image.hottest_tenth
    assert explained.original is not None
    assert explained.original.shape == (80, 70)
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["heat_map"] == image.heat_map
    assert row["hottest_tenth"] == image.hottest_tenth
    stored = pq.read_table(tmp_path / "out" / "predictions").to_pylist()[0]
    assert stored["outside_lungs"] == image.outside_lungs


def test_without_the_option_there_is_nothing_of_it(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    plain = plan_predict(bundle, [str(images / "a.png")], tmp_path / "out").run(None, quiet=True)
    assert plain.image is not None
    assert plain.image.heat_map is plain.image.hottest_tenth is None
    assert not (tmp_path / "out" / "heat_maps").exists()
    head = (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "heat_map" not in head
    with_maps = plan_predict(bundle, [str(images / "a.png")], None, settings=settings())
    image = with_maps.run(None, quiet=True).image
    assert image is not None
    assert image.probabilities == plain.image.probabilities
    assert image.heat_map is None  # no folder, no file
    assert image.hottest_tenth


def test_a_new_output_replaces_the_old_one_with_its_heat_maps(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("a.png", "b.png"):
        plan_predict(bundle, [str(images / name)], out, settings=settings()).run(None, quiet=True)
        assert len(list((out / "heat_maps").rglob("*.png"))) == 1
    assert not list(tmp_path.glob(".out*"))


def test_a_killed_prediction_resumes_with_its_heat_maps(
    bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_predict(bundle, [str(images / "a.png")], tmp_path / "out", settings=settings())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            plan.run(None, quiet=True)
    left = list((tmp_path / ".out.work").rglob("*.png"))
    assert len(left) == 1
    result = plan.run(None, quiet=True)
    assert result.heat_maps == 1
    assert list((tmp_path / "out" / "heat_maps").rglob("*.png"))


def row_of(image_id: str, pixels: np.ndarray, **facts: object) -> dict[str, object]:
    return {
        "image_id": image_id, "uri": "/x.png", "source": "s", "patient_id": None, "scan_id": None,
        "finding": None, "view": "unknown", "pixels": pixels.tobytes(), "phantom": False, **facts,
    }  # fmt: skip


def test_no_id_of_a_table_leads_out_of_the_folder(bundle: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    ids = ["../../evil", "/etc/evil", "a" * 64, "A\x00b", "A" * 64]
    rows = [
        row_of(name, random.integers(0, 256, (64, 64)).astype(np.uint8), height=100, width=150)
        for name in ids
    ]
    scorer = scorer_with_maps(bundle, tmp_path / "inner")
    tables = ImagesWork(scorer, 64, "stretch")(pa.Table.from_pylist(rows))
    names = tables["predictions"]["heat_map"].to_pylist()
    assert len(set(names)) == len(ids)
    assert names[2] == f"heat_maps/aa/{'a' * 64}.png"
    assert not any(part in name for name in names for part in ("..", "evil", "//", "A"))
    written = list((tmp_path / "inner" / "maps").rglob("*.npy"))
    assert len(written) == len(ids)
    assert {np.load(path, allow_pickle=False).shape for path in written} == {(100, 150)}
    assert not list(tmp_path.rglob("*evil*"))


def test_rows_of_cropped_tables_count_as_their_own_originals(bundle: Path, tmp_path: Path) -> None:
    row = row_of("a" * 64, np.zeros((64, 64), np.uint8), height=100, width=150)
    scorer = scorer_with_maps(bundle, tmp_path)
    tables = ImagesWork(scorer, 64, "pad", cropped=True)(pa.Table.from_pylist([row]))
    (path,) = tmp_path.rglob("*.npy")
    assert np.load(path, allow_pickle=False).shape == (64, 64)
    assert tables["predictions"]["outside_lungs"].to_pylist() == [None]
    assert tables["predictions"].schema == schemas.PREDICTIONS


def test_a_streams_work_is_the_same_as_text(bundle: Path, tmp_path: Path) -> None:
    scorer = scorer_with_maps(bundle, tmp_path)
    work = StreamWork("inbox", scorer, read_bundle(bundle).config.ingest)
    assert StreamWork.from_json(work.to_json()) == work
    plain = replace(work, scorer=replace(scorer, heat=None))
    assert StreamWork.from_json(plain.to_json()) == plain
    assert scorer.key() != plain.scorer.key()


def test_files_that_the_model_refuses_are_refused(tmp_path: Path, images: Path) -> None:
    model = ps.load(write_untrained(tmp_path / "phantoms", phantoms=True))
    with pytest.raises(InputError, match="not_a_phantom"):
        model.explain(images / "a.png")
    assert model.explain(images / "a.png", allow_phantom_model=True).map.shape == (80, 70)
    with pytest.raises(InputError, match="not_an_image"):
        model.explain(images / "d.png")
    with pytest.raises(InputError, match="nothing-here"):
        model.explain(images / "nothing-here.png")
    with pytest.raises(UsageError, match="more than one image"):
        model.explain(images)
    with pytest.raises(UsageError, match="did you mean 'normal'"):
        model.explain(images / "a.png", "normla", allow_phantom_model=True)
    with pytest.raises(UsageError, match="frame 2: the file's are 1 to 1"):
        model.explain(images / "a.png", frame=2, allow_phantom_model=True)


def test_each_class_has_its_map_and_an_array_is_its_own_original(
    bundle: Path, images: Path
) -> None:
    explainer = Explainer.open(bundle)
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
    maps = [explainer.explain(pixels, name) for name in explainer.classes]
    total = sum(heat.raw.astype(np.float64) for heat in maps)
    np.testing.assert_allclose(total, 0, atol=1e-6)  # contrasts add up to nothing
    assert maps[0].map.shape == (64, 64)
    assert [heat.class_name for heat in maps] == list(explainer.classes)
    assert explainer.explain_many([]) == []
    with pytest.raises(UsageError, match="expects uint8"):
        explainer.explain(np.zeros((32, 32), np.uint8))
    del images


def test_a_model_that_was_replaced_is_not_explained(tmp_path: Path, images: Path) -> None:
    folder = write_untrained(tmp_path / "bundle")
    model = ps.load(folder)
    shutil.rmtree(folder)
    write_untrained(folder, seed=2)
    with pytest.raises(BundleError, match="was replaced by another model"):
        model.explain(images / "a.png")


def test_the_command_says_where_the_heat_lies(bundle: Path, images: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        cli,
        [
            "predict",
            str(bundle),
            str(images / "a.png"),
            "--heatmaps",
            "--out",
            str(tmp_path / "o"),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "heat map: hottest tenth: " in run.output
    assert "heat outside the lungs: " in run.output
    assert f"heat maps: {tmp_path / 'o' / 'heat_maps'}" in run.output
    record = files.read_json(tmp_path / "o" / "predict.json")
    assert record["result"]["heat_maps"] == 1
    bad = CliRunner().invoke(cli, ["predict", str(bundle), str(images), "--heatmaps=gif"])
    assert bad.exit_code == 2
