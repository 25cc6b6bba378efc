from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import fisher_exact

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.hashing import file_id
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.phantom_mark import NOTE
from pulmospark.phantoms.broken_files import BOMB_SIDE
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding
from pulmospark.phantoms.write import COLUMNS, PhantomSummary, write_phantoms


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_id(path) for path in files}


def good_rows(written: PhantomSummary) -> list[tuple[Path, dict[str, str]]]:
    return [
        (written.folder / hospital.name / "images" / row["filename"], row)
        for hospital in written.hospitals
        for row in rows(written.folder / hospital.name)
        if f"images/{row['filename']}" not in hospital.broken
    ]


def test_every_file_has_its_row_and_every_row_its_file(written: PhantomSummary) -> None:
    for hospital in written.hospitals:
        folder = written.folder / hospital.name
        names = [row["filename"] for row in rows(folder)]
        assert len(set(names)) == len(names)
        assert set(names) == {path.name for path in (folder / "images").iterdir()}


def test_what_is_written_is_what_is_told(written: PhantomSummary) -> None:
    assert (written.patients, written.lateral, written.broken) == (36, 6, 4)
    for hospital in written.hospitals:
        good = [
            row
            for row in rows(written.folder / hospital.name)
            if f"images/{row['filename']}" not in hospital.broken
        ]
        frontal = Counter(row["finding"] for row in good if row["view"] != "L")
        assert frontal == {finding.value: count for finding, count in hospital.frontal.items()}
        assert sum(row["view"] == "L" for row in good) == hospital.lateral
        assert len({row["patientid"] for row in good}) == hospital.patients


def test_a_patient_has_one_finding_age_and_sex(written: PhantomSummary) -> None:
    seen: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
    for path, row in good_rows(written):
        key = (path.parts[-3], row["patientid"])
        seen.setdefault(key, set()).add((row["finding"], row["age"], row["sex"]))
    assert all(len(values) == 1 for values in seen.values())
    images = Counter((path.parts[-3], row["patientid"]) for path, row in good_rows(written))
    assert max(images.values()) >= 4


def test_columns_are_those_of_the_data_set(shared_data: Path) -> None:
    real = shared_data / "covid-chestxray-dataset" / "metadata.csv"
    with real.open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def test_good_files_open_and_carry_the_word_phantom(written: PhantomSummary) -> None:
    modes = set()
    for path, row in good_rows(written):
        with Image.open(path) as image:
            image.load()
            assert (image.format == "PNG") == (path.suffix == ".png")
            comment = image.info.get("Comment") or image.info["comment"].decode()
            modes.add((image.format, image.mode))
        assert comment == row["other_notes"] == NOTE
        assert "PHANTOM" in row["location"]
    assert {("PNG", "L"), ("PNG", "I;16"), ("JPEG", "L"), ("JPEG", "RGB")} <= modes


def test_broken_files_are_as_stated(written: PhantomSummary) -> None:
    found = {
        reason: written.folder / hospital.name / path
        for hospital in written.hospitals
        for path, reason in hospital.broken.items()
    }
    assert found[RejectReason.EMPTY].stat().st_size == 0
    text = found[RejectReason.NOT_AN_IMAGE]
    assert text.suffix == ".png"
    assert text.read_bytes().startswith(b"<html>")
    cut = Image.open(io.BytesIO(found[RejectReason.TRUNCATED].read_bytes()))
    assert cut.format == "JPEG"
    with pytest.raises(OSError, match="truncated"):
        cut.load()
    bomb = found[RejectReason.TOO_MANY_PIXELS].read_bytes()
    assert len(bomb) < 8192
    assert int.from_bytes(bomb[16:20]) == int.from_bytes(bomb[20:24]) == BOMB_SIDE
    assert limits.IMAGE_PIXELS_MAX < BOMB_SIDE**2


def test_names_and_numbers_do_not_tell_the_finding(written: PhantomSummary) -> None:
    for hospital in written.hospitals:
        late: dict[str, list[bool]] = {"normal": [], "other": []}
        table = rows(written.folder / hospital.name)
        for row in table:
            name = row["filename"].removesuffix(".png").removesuffix(".jpg")
            assert name.startswith(f"{hospital.name}-")
            number = int(name.removeprefix(f"{hospital.name}-"))
            kind = "normal" if row["finding"] == Finding.NORMAL else "other"
            late[kind].append(number > len(table) / 2)
        counts = [[sum(side), len(side) - sum(side)] for side in late.values()]
        assert fisher_exact(np.array(counts)).pvalue > 0.01


def test_prevalence_is_a_shortcut_of_the_stated_size() -> None:
    everyone = dict.fromkeys(Finding, 0.0)
    by_source = 0.0
    for hospital in HOSPITALS:
        assert sum(hospital.prevalence.values()) == pytest.approx(1)
        by_source += hospital.patients * max(hospital.prevalence.values())
        for finding, share in hospital.prevalence.items():
            everyone[finding] += hospital.patients * share
    assert sum(hospital.patients for hospital in HOSPITALS) == pytest.approx(1)
    assert max(everyone.values()) < 0.40
    assert 0.50 < by_source < 0.65


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_phantoms(tmp_path / name, seed=seed, patients=9, images_per_patient=(1,), laterals=1)
    first, second, other = (tree(tmp_path / name) for name in "abc")
    assert first == second
    # nothing of another seed is alike but the three broken files that hold no drawing
    assert len(set(first.values()) & set(other.values())) == 3


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")

    class Stop(Progress):
        def to(self, done: int, note: str = "") -> None:
            super().to(done, note)
            if done >= 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(
            folder, seed=1, patients=9, progress=Stop("drawing", 9, quiet=True), laterals=0
        )
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (folder / "kept.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"patients": 2}, "patients: 2"),
        ({"patients": 10**9}, "patients: 1000000000"),
        ({"seed": -1}, "seed: -1"),
        ({"images_per_patient": ()}, "images_per_patient"),
        ({"images_per_patient": (1.0, -0.5)}, "images_per_patient"),
        ({"laterals": 99, "patients": 12}, "laterals: 99"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        write_phantoms(tmp_path / "set", **{"seed": 1, **wrong})
    assert not list(tmp_path.iterdir())
