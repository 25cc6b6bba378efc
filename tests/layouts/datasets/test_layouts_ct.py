"""CT sets other than CC-CCII: COVIDx CT's lists and COVID-CT-MD's series."""

from __future__ import annotations

from pathlib import Path

from layouts.listing import by_name, listed, plant
from pulmospark.layouts.registry import recognise


def test_covidx_ct(tmp_path: Path) -> None:
    names = (
        "NCP_96_1328_0032.png",
        "CP_11_3171_0007.png",
        "Normal_1801_123_0001.png",
        "137covid_patient1_SR_2_IM00028.png",
        "volume-covid19-A-0028_0-0017.png",
        "volume-covid19-A-0028_1-0003.png",
        "radiopaedia_10_85902_0-0022.png",
        "unlisted_9.png",
    )
    root = plant(tmp_path / "root", {f"2A_images/{name}": name for name in names})
    plant(
        root,
        {
            "train_COVIDx_CT-2A.txt": "NCP_96_1328_0032.png 2 9 8 500 400\n"
            "CP_11_3171_0007.png 1 0 0 1 1\nNormal_1801_123_0001.png 0 0 0 1 1\n"
            "137covid_patient1_SR_2_IM00028.png 2 0 0 1 1\nno row\n",
            "val_COVIDx_CT-2A.txt": "volume-covid19-A-0028_0-0017.png 2 0 0 1 1\n",
            "test_COVIDx_CT-2A.txt": "volume-covid19-A-0028_1-0003.png 2 0 0 1 1\n"
            "radiopaedia_10_85902_0-0022.png 2 0 0 1 1\nCP_12_1_gone.png 1 0 0 1 1\n",
            "metadata.csv": "patient id,source,country,sex,age,finding,verified finding,"
            "slice selection,view,modality\n"
            "NCP_96,CNCB,China,F,61,COVID-19,Yes,Expert,Axial,CT\n"
            "Normal_1801,CNCB,China,,,Normal,Yes,N/A,Axial,CT\n"
            "radiopaedia_10_85902,radiopaedia.org,Iran,M,25,COVID-19,Yes,Expert,Axial,CT\n",
        },
    )
    listing, rows = listed(root, tmp_path)
    found = by_name(rows)
    assert listing.layout == "covidx_ct"
    assert listing.findings == {"COVID-19": 5, "Pneumonia": 1, "Normal": 1}
    assert listing.published_splits == {"train": 4, "test": 2, "validation": 1}
    ncp = found["NCP_96_1328_0032.png"]
    assert (ncp["patient_id"], ncp["scan_id"], ncp["slice_index"]) == (
        "covidx_ct:ncp_96",
        "NCP_96_1328",
        32,
    )
    assert (ncp["age"], ncp["sex"], ncp["view"], ncp["modality"]) == (61.0, "F", "axial", "CT")
    other = found["137covid_patient1_SR_2_IM00028.png"]
    assert (other["patient_id"], other["scan_id"]) == ("covidx_ct:patient1", "patient1_SR_2")
    # Two studies of one patient: two scans, and one patient on one side of a split.
    volumes = [found[name] for name in names[4:6]]
    assert {row["patient_id"] for row in volumes} == {"covidx_ct:volume-covid19-a-0028"}
    assert len({row["scan_id"] for row in volumes}) == 2
    assert found["radiopaedia_10_85902_0-0022.png"]["patient_id"] == (
        "covidx_ct:radiopaedia_10_85902"
    )
    assert listing.notes.counts == {
        "rows_without_file": 1,
        "files_without_row": 1,
        "rows_without_path": 1,
        "slices_chosen_by_class": 2,
        "ignored_files": 4,
    }
    assert listing.notes.examples["slices_chosen_by_class"] == (
        "COVID-19: 2 of 2 slices are of patients whose slices were selected; Normal: none",
    )


def test_covid_ct_md(tmp_path: Path) -> None:
    root = tmp_path / "COVID-CT-MD"
    series = {"COVID-19 Cases/P001": (1, 2, 10), "Cap Cases/cap005": (1,), "Normal Cases/n1": (2,)}
    plant(root, {f"{place}/IM{n}.dcm": place for place, ns in series.items() for n in ns})
    plant(root, {"Index.csv": "a\n", "Cap Cases/loose.dcm": "", "docs/picture.png": ""})
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "covid_ct_md"
    assert listing.findings == {"COVID-19": 3, "CAP": 2, "Normal": 1}
    covid = [row for row in rows if row["finding"] == "COVID-19"]
    assert [(row["slice_index"], Path(row["uri"]).name) for row in covid] == [
        (1, "IM1.dcm"),
        (2, "IM2.dcm"),
        (10, "IM10.dcm"),
    ]
    assert covid[0]["patient_id"] == "covid_ct_md:p001"
    assert listing.notes.counts == {
        "files_outside_class": 1,
        "slices_out_of_order": 1,
        "slice_gaps": 1,
        "files_outside_scan": 1,
        "ignored_files": 1,
    }
    assert recognise(root).layout.name == "covid_ct_md"
