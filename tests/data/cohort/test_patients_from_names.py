"""Which images names put into one group, by names as published sets have them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.cohorts import CLASSES, image, parted
from pulmospark.config.split import SplitSettings
from pulmospark.data.cohort.patients_from_names import name_groups

_ROOT = "/data/set"


def _groups(*names: str, others: int = 20) -> list[set[str]]:
    """The groups of two and more that names make beside others that tell nothing."""
    uris = [f"{_ROOT}/{name}" for name in names] + [f"{_ROOT}/x{n}.png" for n in range(others)]
    keys = name_groups(pd.Series(uris), _ROOT)
    assert keys.iloc[len(names) :].isna().all()
    found = defaultdict(set)
    for uri, key in zip(uris, keys, strict=True):
        if key is not None:
            found[key].add(uri.removeprefix(f"{_ROOT}/"))
    return sorted((group for group in found.values() if len(group) > 1), key=sorted)


@pytest.mark.parametrize(
    ("together", "apart"),
    [
        # Kermany's, copied into folders of classes
        (("P/person7_virus_9.jpeg", "P/person7_bacteria_1.jpeg"), "P/person70_virus_9.jpeg"),
        (("N/IM-0115-0001.jpeg", "N/IM-0115-0002.jpeg"), "N/NORMAL2-IM-0115-0001.jpeg"),
        (("N/NORMAL2-IM-1427-0001.jpeg", "N/NORMAL2-IM-1427-0001-0002.jpeg"), "N/IM-1427-01.jpeg"),
        # CheXpert's
        (
            ("a/patient00012/study1/view1_frontal.jpg", "a/patient00012/study2/view1_frontal.jpg"),
            "a/patient00013/study1/view1_frontal.jpg",
        ),
        # NIH ChestX-ray14's
        (("00000013_005.png", "00000013_027.png"), "00000014_005.png"),
        # MIMIC-CXR's
        (("p10/p10000032/s5/a.jpg", "p10/p10000032/s6/b.jpg"), "p10/p10000764/s7/c.jpg"),
        # BIMCV's, as BIDS has it
        (
            ("sub-S03044/ses-E1/mod-rx/sub-S03044_ses-E1_run-1_bp-chest_vp-ap_cr.png",
             "sub-S03044/ses-E2/mod-rx/sub-S03044_ses-E2_run-1_bp-chest_vp-pa_dx.png"),
            "sub-S03045/ses-E1/mod-rx/sub-S03045_ses-E1_run-1_bp-chest_vp-ap_cr.png",
        ),
        # a study's folder below a patient's number, and below a class
        (("00012/study1/a.png", "00012/study2/b.png"), "00013/study1/a.png"),
        (("COVID/study1/a.png", "COVID/study1/b.png"), "COVID/study2/a.png"),
        # two views of one number
        (("1234_PA.png", "1234_lateral.png"), "1235_PA.png"),
    ],
)  # fmt: skip
def test_names_that_tell_a_patient(together: tuple[str, str], apart: str) -> None:
    assert _groups(*together, apart) == [set(together)]


@pytest.mark.parametrize(
    "names",
    [
        ("COVID-12.png", "COVID-13.png"),  # the Radiography Database counts images
        ("Viral Pneumonia-1.png", "Viral Pneumonia-2.png"),
        ("1.2.826.0.1.3680043.8.1.png", "1.2.826.0.1.3680043.8.2.png"),
        ("a.png", "b.png"),
        ("covid-19-pneumonia-58-day-9.jpg", "covid-19-pneumonia-58-day-10.jpg"),
    ],
)
def test_names_that_count_images_group_none(names: tuple[str, ...]) -> None:
    assert _groups(*names) == []


def test_a_date_before_the_number_is_no_patient() -> None:
    assert _groups(*(f"2020-03-{n:02}.png" for n in range(30))) == []
    # Below a fifth of the source it might be one, and is kept in the same split.
    assert _groups(*(f"2020-03-{n:02}.png" for n in range(4))) == [
        {f"2020-03-{n:02}.png" for n in range(4)}
    ]


def test_a_folder_that_holds_the_whole_source_is_no_patient() -> None:
    uris = pd.Series([f"{_ROOT}/case1/{n}.png" for n in range(40)])
    assert name_groups(uris, _ROOT).isna().all()
    assert name_groups(uris.iloc[:5], _ROOT).notna().all()


def test_folders_above_the_source_tell_nothing() -> None:
    uris = pd.Series([f"/home/patient12/set/{n}.png" for n in "abcdef"])
    assert name_groups(uris, "/home/patient12/set").isna().all()
    assert name_groups(uris, "/home/patient12/set/sheet.csv").isna().all()


@pytest.mark.parametrize("folds", [0, 3])
def test_a_split_keeps_unknown_patients_together_by_study_scan_and_name(
    folds: int, tmp_path: Path
) -> None:
    rows, person = [], {}
    for number in range(60):
        for place in range(2):
            at = 10 * number + place
            finding = ("COVID-19", "No Finding")[number % 2]
            row = image(at, finding, None)
            if number < 20:
                row["uri"] = f"/images/{finding}/IM-{number:04}-000{place}.png"
            elif number < 40:
                row["scan_id"] = f"scan{number}"
            else:
                row["study_id"] = f"study{number}"
            rows.append(row)
            person[row["uri"]] = number
    settings = SplitSettings(folds=folds)
    result, found = parted(tmp_path, rows, settings)
    places = defaultdict(set)
    for row in found:
        places[person[row["uri"]]].add((row["split"], row["fold"]))
    assert len(places) == 60
    assert all(len(place) == 1 for place in places.values())
    told = result.name_groups[0]
    assert (told.source, told.images, told.grouped, told.groups) == ("a", 120, 120, 60)
    assert all(row["patient_id"] is None for row in found)
    assert sum(share.groups for share in result.shares) == 60
    assert set(CLASSES) == {share.label for share in result.shares}
    assert "keep 120 of them in the same split" in result.warnings[0]


def test_a_known_patient_stays_known(tmp_path: Path) -> None:
    rows = [
        image(n, ("COVID-19", "No Finding")[n % 2], f"p{n}", uri=f"/images/person1_{n}.png")
        for n in range(40)
    ]
    result, found = parted(tmp_path, rows)
    assert [row["group_id"] for row in found] == [row["patient_id"] for row in found]
    assert result.name_groups == ()
    assert len(np.unique([row["split"] for row in found])) == 3
