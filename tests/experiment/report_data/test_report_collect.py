"""What the report counts: files, frames and rejects of a source, images and patients of a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.cohorts import image, ingested, write_images
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.core import schemas
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.experiment.evaluate import known_patients
from pulmospark.experiment.report_data.collect import _sources, _split
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.report import phrasing
from pulmospark.report.content import SourceSummary
from pulmospark.report.page import render_report
from pulmospark.training.write_bundle import _card_figures, _data
from report import sample


def _tables(folder: Path, rejects: int) -> RunFolder:
    """Five images of a source, a CT of three frames, and some rejects."""
    rows = [image(n, "COVID-19", f"p{n}") for n in range(5)]
    rows += [
        image(10 + n, "COVID-19", "ct", uri=f"/images/ct.dcm#frame-{n}", frame=n)
        for n in (1, 2, 3)
    ]
    run = RunFolder(folder)
    write_images(run.tables, rows)
    told = [
        {
            **dict.fromkeys(schemas.REJECTS.names),
            **{"uri": f"/images/{n}.txt", "source": "a", "size_bytes": 0, "modified_ns": 1},
            **{"reason": "empty", "detail": ""},
        }
        for n in range(rejects)
    ]
    (run.tables / "rejects").mkdir()
    table = pa.Table.from_pylist(told, schema=schemas.REJECTS)
    pq.write_table(table, run.tables / "rejects" / "0.parquet")
    return run


def _told(folder: Path, rejects: int, files: int) -> SourceSummary:
    run = _tables(folder, rejects)
    result = ingested(run.tables, [image(0, "COVID-19", "p0")])
    listing = result.sources[0].model_copy(update={"files": files})
    (told,) = _sources(result.model_copy(update={"sources": (listing,)}), run)
    return told


def test_frames_of_one_file_are_images_and_one_file(tmp_path: Path) -> None:
    told = _told(tmp_path, rejects=2, files=8)
    assert (told.files_seen, told.images, told.frames, told.rejects) == (8, 8, 2, 2)
    content = sample.content(sources=(told,), warnings=())
    assert not [text for text in phrasing.warnings(content) if "add up" in text]
    assert "a file of several frames is an image for each" in render_report(content)


def test_rejects_are_counted_so_that_a_lost_file_is_warned_of(tmp_path: Path) -> None:
    told = _told(tmp_path, rejects=1, files=8)
    assert told.rejects == 1
    (text,) = (t for t in phrasing.warnings(sample.content(sources=(told,))) if "add up" in t)
    assert "8 files seen, but 6 files with images and 1 reject" in text


def _cohort(*told: tuple[str, str, str, str | None]) -> pa.Table:
    """Images as part, class, source and patient; each patient is a group."""
    return pa.table(
        {
            "fold": pa.nulls(len(told), pa.int32()),
            **{
                name: pa.array([one[at] for one in told], pa.string())
                for at, name in enumerate(("split", "label", "source", "patient_id"))
            },
        }
    )


def test_a_patient_with_images_of_two_classes_is_one_patient_of_all() -> None:
    rows = _cohort(
        ("train", "ill", "a", "a:1"),
        ("train", "well", "a", "a:1"),
        ("train", "well", "a", "a:2"),
        ("test", "ill", "b", None),
        ("test", "ill", "b", None),
        ("test", "well", "a", "a:3"),
    )
    told = _split(rows, _parted(classes=("ill", "well")))
    assert {one.part: (one.images, one.patients) for one in told.totals} == {
        "train": (3, 2),
        "test": (3, 1),
    }
    classes = {(one.part, one.name): (one.images, one.patients) for one in told.by_class}
    assert classes == {
        ("train", "ill"): (1, 1),
        ("train", "well"): (2, 2),
        ("test", "ill"): (2, None),
        ("test", "well"): (1, 1),
    }
    sources = {(one.part, one.name): (one.images, one.patients) for one in told.by_source}
    assert sources["test", "b"] == (2, None)  # images are no patients
    assert sources["train", "b"] == (0, None)
    assert [one.part for one in told.totals] == ["train", "test"]


def test_folds_are_the_parts_in_their_order() -> None:
    rows = _cohort(*(("train", "ill", "a", f"a:{n}") for n in range(12)))
    at = rows.column_names.index("fold")
    rows = rows.set_column(at, "fold", pa.array([n % 11 for n in range(12)], pa.int32()))
    told = _split(rows, _parted(classes=("ill",)))
    assert [one.part for one in told.totals] == [f"fold {n + 1}" for n in range(11)]
    assert told.totals[0].patients == 2


def test_patients_are_counted_where_they_are_known() -> None:
    rows = pa.table({"patient_id": ["a:1", "a:1", None, "a:2", None]})
    assert known_patients(rows) == (2, 2)


def _parted(**changes: Any) -> SplitResult:
    fields: dict[str, Any] = {
        **{"cohort": Path("cohort"), "cohort_id": "c", "classes": ("ill", "well"), "images": 4},
        **{"excluded": 0, "folds": 0, "shares": (), "exclusions": (), "warnings": ()},
    }
    return SplitResult(**{**fields, **changes})


def test_a_bundle_knows_the_views_that_its_cohort_was_made_of() -> None:
    experiment = Experiment(sources=(SourceSettings(path=Path("images")),))
    assert _data(_parted(views=("axial",)), experiment)["views"] == ["axial"]
    # The cohort of an older version does not tell: those of the settings.
    assert _data(_parted(), experiment)["views"] == list(experiment.split.views)


def test_a_card_says_whose_the_tested_images_are() -> None:
    one = sample.evaluation()
    figures = {told.name: told.value for told in _card_figures(one, "40 images, no patient known")}
    assert figures["Test set"] == f"{one.images} images of 40 images, no patient known"
