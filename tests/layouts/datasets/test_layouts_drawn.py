"""The layouts of the data sets on drawn trees, for the oddities that the real ones lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import LayoutError, UsageError

_COVID = (
    "patientid,sex,age,finding,view,modality,folder,filename\n"
    "1,M,65,Pneumonia/Viral/COVID-19,PA,X-ray,images,a.jpg\n"
    "1,M,65,Pneumonia/Viral/COVID-19,AP Erect,X-ray,images,a.jpg\n"
    "2,F,414,No Finding,L,X-ray,images,b.jpg\n"
    "3,,,Pneumonia,Axial,CT,images,c.jpg\n"
    "3,,,Pneumonia,,CT,images,d.jpg\n"
    "4,M,50,todo,PA,X-ray,images,gone.jpg\n"
    "5,M,50,Pneumonia,Axial,CT,volumes,v.nii.gz\n"
    "6,M,50,Pneumonia,Axial,CT,volumes,w.nii.gz\n"
    "7,M,50,Pneumonia,PA,X-ray,../outside,x.jpg\n"
    "8,M,50,Pneumonia,PA,X-ray,images,\n"
    ",M,50,SARS,PA,X-ray,images,e.jpg\n"
    "2,F,41,SARS,L,X-ray,images,b.jpg\n"
)


def test_covid_chestxray(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(root, {f"images/{name}.jpg": name for name in "abcdef"})
    plant(
        root,
        {
            "metadata.csv": _COVID,
            "volumes/v.nii.gz": "v",
            "docs/logo.png": "",
            "annotations/lungVAE-masks/a_mask.png": "",
        },
    )
    listing, rows = listed(root, tmp_path, name="c")
    found = by_name(rows)
    assert sorted(found) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "v.nii.gz"]
    assert found["a.jpg"]["finding"] == "Pneumonia/Viral/COVID-19"
    assert found["a.jpg"]["mask_uri"] == f"{root}/annotations/lungVAE-masks/a_mask.png"
    assert (found["a.jpg"]["age"], found["a.jpg"]["sex"]) == (65.0, "M")
    assert (found["b.jpg"]["age"], found["b.jpg"]["view"]) == (None, "lateral")
    assert [found[n]["view"] for n in ("c.jpg", "d.jpg")] == ["axial", "axial"]
    assert found["c.jpg"]["modality"] == "CT"
    assert found["e.jpg"]["patient_id"] is None
    assert (found["f.jpg"]["finding"], found["f.jpg"]["patient_id"]) == (None, None)
    assert found["v.nii.gz"]["patient_id"] == "c:5"
    assert listing.notes.counts == {
        "rows_without_file": 2,
        "files_without_row": 1,
        "repeated_rows": 2,
        "conflicting_findings": 1,
        "rows_without_path": 1,
        "rows_outside_root": 1,
        "rows_of_volumes": 2,
        "unusable_ages": 1,
        "masks": 1,
        "ignored_files": 2,
    }
    assert listing.notes.examples["conflicting_findings"] == ("images/b.jpg: No Finding | SARS",)


def test_nih14_in_numbered_folders_with_published_split(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(
        root,
        {
            "Data_Entry_2017.csv": "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,"
            "Patient Gender,View Position,OriginalImage[Width,Height]\n"
            "1_0.png,Cardiomegaly|Effusion,0,1,058Y,M,PA,1,2\n"
            "1_1.png,No Finding,1,1,414,M,AP,1,2\n"
            "2_0.png,Hernia,0,2,081Y,F,PA,1,2\n",
            "images_001/images/1_0.png": "1",
            "images_001/images/1_1.png": "1",
            "images_012/images/2_0.png": "1",
            "images/2_0.png": "1",
            "images/9_9.png": "1",
            "train_val_list.txt": "1_0.png\n1_1.png\n7_7.png\n",
            "test_list.txt": "2_0.png\r\n",
            "BBox_List_2017.csv": "Image Index,Finding Label\n",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "nih14"
    assert listing.files == 5
    assert listing.published_splits == {"train": 2, "test": 2}
    found = by_name(rows)
    assert (found["1_0.png"]["age"], found["1_1.png"]["age"]) == (58.0, None)
    assert found["1_0.png"]["finding"] == "Cardiomegaly|Effusion"
    assert found["1_0.png"]["patient_id"] == found["1_1.png"]["patient_id"] == "nih14:1"
    counts = listing.notes.counts
    assert counts["files_of_same_name"] == 1
    assert counts["files_without_row"] == 1
    assert counts["split_names_without_row"] == 1
    assert counts["unusable_ages"] == 1


def test_kermany_copy_in_the_archive_and_both_editions_of_names(tmp_path: Path) -> None:
    images = {
        "train/PNEUMONIA/person1_bacteria_2.jpeg": "a",
        "train/PNEUMONIA/person1_virus_6.jpeg": "b",
        "train/PNEUMONIA/person447_virus_921_1.jpeg": "c",
        "train/PNEUMONIA/BACTERIA-1008087-0001.jpeg": "d",
        "train/NORMAL/NORMAL-1008088-0001.jpeg": "e",
        "test/NORMAL/IM-0115-0001-0002.jpeg": "f",
        "val/NORMAL/NORMAL2-IM-0115-0001.jpeg": "g",
        "val/PNEUMONIA/odd.jpeg": "h",
    }
    root = tmp_path / "root"
    plant(root / "chest_xray", images)
    plant(root / "chest_xray/chest_xray", images)
    plant(root, {"chest_xray/chest_xray/test/NORMAL/IM-0999-0001.jpeg": "only here"})
    plant(root, {"chest_xray/__MACOSX/._x.jpeg": "", "__MACOSX/x.jpeg": ""})
    plant(root, {"chest_xray/stray.jpeg": ""})
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.path) == ("kermany", str(root / "chest_xray"))
    assert listing.files == len(images) + 2
    assert listing.notes.counts == {
        "nested_copies": len(images),
        "hidden_entries": 1,
        "files_outside_class": 1,
    }
    assert listing.published_splits == {"train": 5, "validation": 2, "test": 2}
    found = by_name(rows)
    assert found["person1_bacteria_2.jpeg"]["finding"] == "PNEUMONIA bacterial"
    assert found["person1_virus_6.jpeg"]["finding"] == "PNEUMONIA viral"
    assert found["person1_virus_6.jpeg"]["patient_id"] == "kermany:person1"
    assert found["person1_bacteria_2.jpeg"]["patient_id"] == "kermany:person1"
    assert found["person447_virus_921_1.jpeg"]["patient_id"] == "kermany:person447"
    assert found["BACTERIA-1008087-0001.jpeg"]["finding"] == "PNEUMONIA bacterial"
    assert found["BACTERIA-1008087-0001.jpeg"]["patient_id"] == "kermany:1008087"
    assert found["NORMAL-1008088-0001.jpeg"]["patient_id"] == "kermany:1008088"
    assert found["IM-0115-0001-0002.jpeg"]["patient_id"] == "kermany:im-0115"
    assert found["NORMAL2-IM-0115-0001.jpeg"]["patient_id"] == "kermany:normal2-im-0115"
    assert found["odd.jpeg"]["finding"] == "PNEUMONIA"
    assert found["odd.jpeg"]["patient_id"] is None
    assert found["stray.jpeg"]["finding"] is None
    _, rows = listed(root, tmp_path, options={"person_numbers": "by_kind"})
    found = by_name(rows)
    assert found["person1_virus_6.jpeg"]["patient_id"] == "kermany:person1 viral"
    with pytest.raises(UsageError, match="shared or by_kind"):
        listed(root, tmp_path, options={"person_numbers": "yes"})


def test_radiography_database_masks(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(
        root,
        {
            "COVID/images/COVID-1.png": "",
            "COVID/images/COVID-2.png": "",
            "COVID/masks/COVID-1.png": "",
            "COVID/masks/COVID-9.png": "",
            "Lung_Opacity/images/Lung_Opacity-1.png": "",
            "Normal/Normal-1.png": "",
            "logo.png": "",
            "COVID.metadata.xlsx": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "radiography_database"
    assert listing.findings == {"COVID": 2, "Lung_Opacity": 1, "Normal": 1}
    assert listing.notes.counts == {
        "files_outside_class": 1,
        "masks": 2,
        "masks_without_image": 1,
        "images_without_mask": 1,
        "ignored_files": 1,
    }
    assert by_name(rows)["COVID-1.png"]["mask_uri"] == f"{root}/COVID/masks/COVID-1.png"
    assert by_name(rows)["COVID-2.png"]["mask_uri"] is None


def test_class_folders_with_and_without_splits(tmp_path: Path) -> None:
    images = {"Sick/p1/1.png": "", "Sick/2.png": "", "Well/3.jpg": "", "Well/4.txt": ""}
    plain = plant(tmp_path / "plain", images)
    listing, _ = listed(plain, tmp_path)
    assert (listing.layout, listing.name) == ("class_folders", "plain")
    assert listing.findings == {"Sick": 2, "Well": 1}
    assert listing.notes.counts == {"files_below_class": 1, "ignored_files": 1}
    assert listing.published_splits == {}
    split = plant(tmp_path / "split/Train", images).parent
    plant(split, {"TEST/Sick/5.png": "", "loose.png": ""})
    listing, rows = listed(split, tmp_path, options={"patient_level": "1", "view": "PA"})
    assert listing.published_splits == {"train": 3, "test": 1}
    assert listing.findings == {"Sick": 3, "Well": 1}
    assert (listing.without_finding, listing.notes.counts["files_outside_class"]) == (1, 1)
    assert by_name(rows)["1.png"]["patient_id"] == "split:sick/p1"
    assert listing.views == {"PA": 5}
    for wrong in ("0", "x", "-1", "99", "²"):
        with pytest.raises(UsageError, match="patient_level"):
            listed(split, tmp_path, options={"patient_level": wrong})


def test_images_without_an_extension_are_in_their_class(tmp_path: Path) -> None:
    dicom, jpeg = b"\0" * 128 + b"DICM", b"\xff\xd8\xff\xe0"
    files = {"Sick/1.2.840.7": dicom, "Sick/IM2": jpeg, "Well/0003": jpeg, "Well/README": b"text"}
    listing, _ = listed(plant(tmp_path / "set", files), tmp_path)
    assert (listing.layout, listing.findings) == ("class_folders", {"Sick": 2, "Well": 1})
    assert listing.notes.ignored_extensions == {"(none)": 1}


def test_named_layout_that_the_folder_lacks(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"A/1.png": "", "B/1.png": ""})
    with pytest.raises(LayoutError, match="Data_Entry_2017"):
        listed(root, tmp_path, layout="nih14")
    with pytest.raises(UsageError, match="no option 'patient_level' in the layout 'kermany'"):
        listed(root, tmp_path, layout="kermany", options={"patient_level": "1"})
    # A wrong guess can be overridden: this one is taken as it is told.
    listing, _ = listed(root, tmp_path, layout="Radiography-Database")
    assert listing.without_finding == 2
