"""Each layout on the header and the tree that its publisher ships; where both were read is said.

Rows are the publisher's own, or shortened from them; a sheet whose licence forbids to show its
rows has its header alone and drawn rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import LayoutError
from pulmospark.layouts.registry import recognise

# agchung/Figure1-COVID-chestxray-dataset, metadata.csv at its last commit 95bb569 (2020-05);
# originalfile stood before artifacts/distortion until commit 09f364d. Bytes are Windows-1252.
_FIGURE1 = (
    "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality,{}"
    "artifacts/distortion,notes\n"
    "COVID-00002,,M,50+,,,,,AP erect,X-ray,{}{},Fever 38° on arrival\n"
    "COVID-00013a,,F,60,,,,,AP,X-ray,{}{},Xrays taken 1 day apart\n"
    "COVID-00013b,,F,60,,,,,AP,X-ray,{}{},Xrays taken 1 day apart\n"
    "COVID-00016,16,M,64,COVID-19,,,low 90s,,X-ray,{}{},low 90\u2019s on room air\n"
    "COVID-00041,7,,mid 50s,,,,,AP erect,X-ray,{}{},\n"
)


def _figure1(original: bool) -> bytes:
    extra = ("originalfile," if original else "", *(("x.jpeg," if original else "", "") * 5))
    return _FIGURE1.format(*extra).encode("cp1252")


@pytest.mark.parametrize("original", [False, True], ids=["since April 2020", "before"])
def test_figure1(original: bool, tmp_path: Path) -> None:
    names = ("00002", "00013a", "00013b", "00016", "00041")
    root = plant(
        tmp_path / "root",
        {
            "metadata.csv": _figure1(original),
            "README.md": "",
            **{f"images/COVID-{name}.jpg": "" for name in names},
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "figure1"
    assert listing.findings == {"COVID-19": 1}
    assert listing.views == {"AP": 4, "unknown": 1}
    found = by_name(rows)
    pair = {found[f"COVID-00013{letter}.jpg"]["patient_id"] for letter in "ab"}
    assert pair == {"figure1:covid-00013"}
    assert found["COVID-00002.jpg"]["age"] == 50.0
    assert listing.notes.counts == {"unusable_ages": 1, "ignored_files": 2}


def test_actualmed(tmp_path: Path) -> None:
    """agchung/Actualmed-COVID-chestxray-dataset, metadata.csv at its last commit 2635e4b."""
    name = "CR.1.2.840.113564.1722810170.20200{}.1003000225002.png"
    head = (
        "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality,"
        "imagename,artifacts/distortion,notes\n"
    )
    one, two, three = (name.format(n) for n in (1, 2, 3))
    rows = (
        f'ANON196,,,,,,,,PA,X-ray,{one},,"Inconclusive, date taken (YYYYMMDD): 20200313"\n'
        f'ANON56,,,,No finding,,,,PA,X-ray,{two},,"Negative (covid-19 viral infection is '
        'excluded), date taken (YYYYMMDD): 20200317"\n'
        f'ANON196,,,,COVID-19,,,,AP,X-ray,{three},,", date taken (YYYYMMDD): 20200318"\n'
    )
    root = plant(
        tmp_path / "root",
        {"metadata.csv": head + rows, **{f"images/{n}": "" for n in (one, two, three)}},
    )
    listing, found = listed(root, tmp_path)
    assert listing.layout == "actualmed"
    assert (listing.findings, listing.without_finding) == ({"No finding": 1, "COVID-19": 1}, 1)
    assert {row["patient_id"] for row in found} == {"actualmed:anon196", "actualmed:anon56"}


def test_hannover(tmp_path: Path) -> None:
    """ml-workgroup/covid-19-image-repository, data.csv at its last commit 4025ea1."""
    head = (
        "patient_id,image_id,sex,age,size,weight,admission_offset,icu_admission_offset,"
        "icu_release_offset,death_offset,modality,projection,crp_offset,crp_val,d-dimer_offset,"
        "d-dimer_val,factor_xii_offset,factor_xii_val,ldh_offset,ldh_val,lymphocytes_offset,"
        "lymphocytes_val,neutrophils_offset,neutrophils_val,pco2_offset,pco2_val,po2_offset,"
        "po2_val\n"
    )
    rows = (
        "042f06a9,b343e657,m,,,,0,0.0,4.0,,CR,ap,0.0,5.0,,,0.0,145.0,,,,,,,0.0,45.0,0.0,55.0\n"
        "09ec853d,2168a917,m,,,,-21,-21.0,-11.0,,DX,pa,0.0,44.0,,,,,,,,,,,-6.0,45.0,-6.0,30.0\n"
    )
    root = plant(
        tmp_path / "root",
        {
            "data.csv": head + rows,
            "png/b343e657.png": "",
            "png/2168a917.png": "",
            "nii/readme.md": "",
        },
    )
    listing, found = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("hannover", {"COVID-19": 2})
    assert listing.views == {"AP": 1, "PA": 1}
    assert by_name(found)["b343e657.png"]["patient_id"] == "hannover:042f06a9"


def test_covid_chestxray(tmp_path: Path) -> None:
    """ieee8023/covid-chestxray-dataset as its metadata.csv is since RT_PCR_positive came in."""
    head = (
        "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
        "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,"
        "leukocyte_count,neutrophil_count,lymphocyte_count,view,modality,date,location,folder,"
        "filename,doi,url,license,clinical_notes,other_notes,\n"
    )
    row = (
        "2,0,M,65,Pneumonia/Viral/COVID-19,Y,Y,N,N,N,N,Y,,,,,,,PA,X-ray,"
        '"January 22, 2020","Cho Ray Hospital, Ho Chi Minh City, Vietnam",images,a.jpeg,,,,,,\n'
    )
    volume = (
        "9,,,,Pneumonia/Viral/COVID-19,Y,,,,,,,,,,,,,Axial,CT,,,volumes,coronacases_001.nii.gz"
        ",,,,,,\n"
    )
    root = plant(
        tmp_path / "root",
        {
            "metadata.csv": head + row + volume,
            "images/a.jpeg": "",
            "annotations/lungVAE-masks/a_mask.png": "",
            "docs/covid-graphic.png": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "covid_chestxray"
    assert listing.findings == {"Pneumonia/Viral/COVID-19": 1}
    assert (rows[0]["patient_id"], rows[0]["age"]) == ("covid_chestxray:2", 65.0)
    assert listing.with_mask == 1
    assert listing.notes.counts["rows_of_volumes"] == 1


@pytest.mark.parametrize(
    ("names", "rows", "finding"),
    [
        # lindawangg/COVID-Net, labels/test_COVIDx_CXR-3A.txt at commit 9645505
        (
            ("train_COVIDx_CXR-3A.txt", "test_COVIDx_CXR-3A.txt"),
            "419639-002463 MIDRC-RICORD-1C-419639-002463-12463-0.png COVID-19 ricord\n",
            "COVID-19",
        ),
        # the same, test_split.txt at commit e7bae7b: the first edition
        (
            ("train_split.txt", "test_split.txt"),
            "1000147 person147_bacteria_706.jpeg bacteria\n",
            "bacteria",
        ),
        (("train_split_v3.txt", "test_split_v3.txt"), "10001 person1_virus_13.jpeg viral\n",
         "viral"),
        # edition CXR-4 on Kaggle, andyczhao/covidx-cxr2: train.txt, val.txt and test.txt
        (("train.txt", "test.txt"), "419639-001031 x-0.png positive ricord\n", "positive"),
    ],
)  # fmt: skip
def test_covidx(names: tuple[str, str], rows: str, finding: str, tmp_path: Path) -> None:
    image = rows.split()[1]
    lists = {names[0]: rows, names[1]: rows.replace(image, "o.png")}
    root = plant(tmp_path / "root", {**lists, f"train/{image}": "", "test/o.png": ""})
    listing, _ = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("covidx", {finding: 2})
    assert listing.published_splits == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # haydengunraj/COVIDNet-CT, splits/v3/val_COVIDx_CT-3A.txt at commit d1c6be5
        ("val_COVIDx_CT-3A.txt", "COVIDCTMD-normal057-IM0113.png 0 6 37 512 446\n"),
        ("train_COVIDx-CT_v2A.txt", "Normal_1801_123_0001.png 0 0 0 512 512\n"),
        ("train_COVIDx-CT_v1.txt", "Normal_1801_123_0001.png 0 0 0 512 512\n"),
    ],
)
def test_covidx_ct(name: str, row: str, tmp_path: Path) -> None:
    # metadata.csv at commit 4acaed8
    head = (
        "patient id,source,country,sex,age,finding,verified finding,slice selection,view,"
        "modality\n"
    )
    people = "CP_1456,CNCB,China,F,77,Pneumonia,Yes,Expert,Axial,CT\n"
    slices = {"3A_images/CP_1456_3_0007.png": "", f"3A_images/{row.split(maxsplit=1)[0]}": ""}
    lines = row + "CP_1456_3_0007.png 1 6 38 512 446\n"
    root = plant(tmp_path / "root", {"metadata.csv": head + people, name: lines, **slices})
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "covidx_ct"
    assert listing.findings == {"Pneumonia": 1, "Normal": 1}
    person = by_name(rows)["CP_1456_3_0007.png"]
    assert (person["patient_id"], person["age"]) == ("covidx_ct:cp_1456", 77.0)


@pytest.mark.parametrize("word", ["subjects", "Cases"])
def test_covid_ct_md(word: str, tmp_path: Path) -> None:
    """ShahinSHH/COVID-CT-MD, README and sample (``subjects``), and the download from figshare
    as haydengunraj/COVIDNet-CT reads it (``Cases``)."""
    cap = "Cap" if word == "Cases" else "CAP"
    root = plant(
        tmp_path / "root",
        {
            "Index.csv": "Label Index,Diagnosis,Relative Path,Folder/ID\n"
            "0,COVID-19,./COVID-19/,P001\n",
            f"COVID-19 {word}/P001/98C14734-ASSH_1.dcm": "a",
            f"COVID-19 {word}/P001/98C14734-ASSH_2.dcm": "b",
            f"{cap} {word}/cap001/IM0001.dcm": "c",
            f"Normal {word}/normal057/IM0113.dcm": "d",
        },
    )
    listing, _ = listed(root, tmp_path)
    assert listing.layout == "covid_ct_md"
    assert listing.findings == {"COVID-19": 2, "CAP": 1, "Normal": 1}


def test_cc_ccii(tmp_path: Path) -> None:
    """Columns as haydengunraj/COVIDNet-CT (dataset_construction/cncb.py) reads them; the
    publisher's own sheets could not be had. Its lesions_slices.csv has one column, imgpath."""
    root = plant(
        tmp_path / "root",
        {
            "unzip_filenames.csv": "zip_file,label,patient_id,scan_id,n_slice\n"
            "COVID19-1.zip,NCP,10,1248,2\nNormal-1.zip,Normal,1801,123,1\n",
            "lesions_slices.csv": "imgpath\nNCP/10/1248/0001.jpg\n",
            "NCP/10/1248/0001.jpg": "a",
            "NCP/10/1248/0002.jpg": "bb",
            "Normal/1801/123/0001.jpg": "c",
        },
    )
    listing, _ = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("cc_ccii", {"NCP": 2, "Normal": 1})
    assert "slice_counts_differ" not in listing.notes.counts
    assert listing.notes.counts["lesion_slices"] == 1


def test_covid_qu_ex(tmp_path: Path) -> None:
    """The tree of anasmohammedtahir/covidqu, version 7, with each part's folder in itself, as
    those who read it from Kaggle's download write it."""
    parts = [f"{kind} Segmentation Data" for kind in ("Infection", "Lung")]
    files = {
        f"{part}/{part}/{split}/{name}/{kind}/{name}_1.png": ""
        for part in parts
        for split in ("Train", "Val", "Test")
        for name in ("COVID-19", "Non-COVID", "Normal")
        for kind in ("images", "infection masks", "lung masks")
        if part == parts[0] or kind != "infection masks"
    }
    listing, _ = listed(plant(tmp_path / "root", files), tmp_path)
    assert listing.layout == "covid_qu_ex"
    assert listing.findings == {"COVID-19": 3, "Non-COVID": 3, "Normal": 3}
    assert listing.with_mask == 9


def test_radiography_database(tmp_path: Path) -> None:
    """The tree of Kaggle's COVID-19_Radiography_Dataset; folders that its users put beside it
    hold no images of it."""
    home = "COVID-19_Radiography_Dataset"
    names = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    files = {
        f"{home}/{name}/{kind}/{name}-1.png": "" for name in names for kind in ("images", "masks")
    }
    files |= {f"{home}/{name}.metadata.xlsx": "" for name in names}
    files[f"{home}/README.md.txt"] = ""
    root = plant(tmp_path / "root", files)
    added = ("heatmaps", "infection masks", "Masks", "images_resized")
    plant(root, {f"{home}/COVID/{folder}/COVID-1.png": "" for folder in added})
    plant(root, {f"{home}/COVID/preview.png": ""})
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "radiography_database"
    assert listing.findings == dict.fromkeys(names, 1)
    assert (listing.files, listing.with_mask) == (4, 4)
    assert {Path(row["uri"]).parent.name for row in rows} == {"images"}
    assert listing.notes.counts["files_in_other_folders"] == 5


@pytest.mark.parametrize("sex", ["Patient Gender", "Patient Sex"])
def test_nih14(sex: str, tmp_path: Path) -> None:
    """NIHCC's Data_Entry_2017_v2020.csv (of which the shared data have rows), with either of the
    column's two names; its brackets hold commas, so that the header has columns too many."""
    head = (
        f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,{sex},View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    )
    row = "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143,\n"
    root = plant(
        tmp_path / "root",
        {"Data_Entry_2017_v2020.csv": head + row, "images_001/images/00000001_001.png": ""},
    )
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("nih14", {"Cardiomegaly|Emphysema": 1})
    assert (rows[0]["sex"], rows[0]["view"], rows[0]["age"]) == ("M", "PA", 58.0)


_CHEXPERT_LABELS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)


def test_chexpert(tmp_path: Path) -> None:
    """Stanford's train.csv, as readers of CheXpert-v1.0-small quote its first two lines."""
    row = (
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,"
        "1.0,,,,,,,,,0.0,,,,1.0\n"
    )
    head = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{_CHEXPERT_LABELS}\n"
    image = "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
    root = plant(tmp_path / "root", {"CheXpert-v1.0-small/train.csv": head + row, image: ""})
    listing, _ = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == (
        "chexpert",
        {"No Finding|Support Devices": 1},
    )


def test_mimic_cxr_jpg(tmp_path: Path) -> None:
    """PhysioNet's sheets; the metadata's columns as readers of version 2.0.0 quote them."""
    metadata = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
        "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
        "PatientOrientationCodeSequence_CodeMeaning\n"
        "aa,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,"
        "CHEST (PA AND LAT),postero-anterior,Erect\n"
    )
    labels = (
        "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,"
        "Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,"
        "Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices\n"
        "10000032,50414267,,,,,,,,,1.0,,,,,\n"
    )
    name = "mimic-cxr-2.0.0"
    root = plant(
        tmp_path / "root",
        {
            f"{name}-metadata.csv": metadata,
            f"{name}-chexpert.csv": labels,
            f"{name}-split.csv": "dicom_id,study_id,subject_id,split\n"
            "aa,50414267,10000032,train\n",
            "files/p10/p10000032/s50414267/aa.jpg": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("mimic_cxr_jpg", {"No Finding": 1})
    assert (rows[0]["view"], rows[0]["published_split"]) == ("PA", "train")


_VINDR = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis"
)


def test_vindr_cxr(tmp_path: Path) -> None:
    """PhysioNet's image_labels_*.csv, columns as their readers list them: the last label but one
    is ``Other diseases`` in the training part and ``Other disease`` in the test part."""
    count = len(_VINDR.split(","))
    other = ",".join(["0"] * count + ["1", "0"])
    root = plant(
        tmp_path / "root",
        {
            "annotations/image_labels_train.csv": f"image_id,rad_id,{_VINDR},Other diseases,"
            f"No finding\na,R1,{other}\na,R2,{other}\na,R3,{','.join(['0'] * (count + 1))},1\n",
            "annotations/image_labels_test.csv": f"image_id,{_VINDR},Other disease,No finding\n"
            f"b,{other}\n",
            "train/a.dicom": "",
            "test/b.dicom": "",
        },
    )
    listing, _ = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("vindr_cxr", {"Other diseases": 2})


def test_rsna_pneumonia(tmp_path: Path) -> None:
    """Kaggle's two sheets, whose columns many readers quote, and its folders."""
    root = plant(
        tmp_path / "root",
        {
            "stage_2_train_labels.csv": "patientId,x,y,width,height,Target\n"
            "0004cfab,,,,,0\n00436515,264.0,152.0,213.0,379.0,1\n",
            "stage_2_detailed_class_info.csv": "patientId,class\n"
            "0004cfab,No Lung Opacity / Not Normal\n00436515,Lung Opacity\n",
            "stage_2_sample_submission.csv": "patientId,PredictionString\n",
            "stage_2_train_images/0004cfab.dcm": "",
            "stage_2_train_images/00436515.dcm": "",
            "stage_2_test_images/0000a175.dcm": "",
        },
    )
    listing, _ = listed(root, tmp_path)
    assert listing.layout == "rsna_pneumonia"
    assert listing.findings == {"No Lung Opacity / Not Normal": 1, "Lung Opacity": 1}
    assert listing.without_finding == 1


def test_bimcv_covid19(tmp_path: Path) -> None:
    """Columns of participants.tsv as BIMCV's own script writes them, of the labels as
    neuro-ml/amid reads derivatives/labels/labels_covid_posi.tsv."""
    place = "sub-S03044/ses-E06131/mod-rx/sub-S03044_ses-E06131_run-1_bp-chest_vp-ap_dx.png"
    root = plant(
        tmp_path / "root",
        {
            place: "",
            "participants.tsv": "participant\tid_pseudoanonymization\thealth_areas\t"
            "modality_dicom\tbody_parts\tage\tgender\nsub-S03044\t\t\t['DX']\t[['CHEST']]\t[63]\tM\n",
            "derivatives/labels/labels_covid_posi.tsv": "\tPatientID\tReportID\tReport\tLabels\t"
            "Localizations\tLabelsLocalizationsBySentence\tlabelCUIS\tLocalizationsCUIS\n"
            "0\tS03044\tE06131\ttext\t['COVID 19']\t[]\t[]\t[]\t[]\n",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("bimcv_covid19", {"COVID 19": 1})
    assert (rows[0]["age"], rows[0]["sex"]) == (63.0, "M")


def test_figure1_is_not_taken_for_its_neighbours(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"metadata.csv": _figure1(False), "images/a.jpg": ""})
    assert recognise(root).layout.name == "figure1"
    text = _figure1(False).replace(b"artifacts", b"imagename,artifacts", 1)
    (root / "metadata.csv").write_bytes(text)
    assert recognise(root).layout.name == "actualmed"


# Kaggle, vinbigdata-chest-xray-abnormalities-detection/train.csv: eight columns, 67,914 rows.
_VINBIGDATA = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"


@pytest.mark.parametrize("end", [".dicom", ".png"])
def test_vinbigdata_takes_the_majority_of_its_readers(end: str, tmp_path: Path) -> None:
    rows = (
        "a,No finding,14,R11,,,,\na,No finding,14,R7,,,,\na,No finding,14,R10,,,,\n"
        "b,Cardiomegaly,3,R10,691,1375,1653,1831\nb,Aortic enlargement,0,R10,1,1,2,2\n"
        "b,No finding,14,R9,,,,\nb,Cardiomegaly,3,R8,691,1375,1653,1831\n"
        "b,Cardiomegaly,3,R8,600,1375,1653,1831\n"
        "c,ILD,5,R8,1,1,2,2\nc,No finding,14,R9,,,,\nc,Calcification,2,R10,1,1,2,2\n"
        "d,Pleural thickening,11,R9,627,357,947,433\n"
        "f,ILD,5,R8,1,1,2,2\nf,No finding,14,R9,,,,\n"
    )
    root = plant(
        tmp_path / "root",
        {
            "train.csv": _VINBIGDATA + rows,
            "sample_submission.csv": "image_id,PredictionString\ne,14 1 0 0 1 1\n",
            **{f"train/{name}{end}": "" for name in "abcdf"},
            f"test/e{end}": "",
        },
    )
    listing, found = listed(root, tmp_path)
    assert listing.layout == "vinbigdata"
    named = {Path(row["uri"]).stem: row["finding"] for row in found}
    assert named == {
        "a": "No finding",
        "b": "Cardiomegaly",  # two of three; a second box of one reader is no second vote
        "c": None,
        "d": "Pleural thickening",
        "f": None,  # one of two is not more than half
        "e": None,
    }
    assert listing.notes.counts == {
        "files_without_row": 1,
        "conflicting_findings": 2,
        "ignored_files": 2,
    }


def test_vinbigdata_of_the_shared_cases(shared_cases: Path, tmp_path: Path) -> None:
    folder = shared_cases / "f13-csv-joins-no-names/vinbigdata"
    listing, rows = listed(folder, tmp_path)
    assert (listing.layout, listing.files) == ("vinbigdata", 4)
    assert {Path(row["uri"]).stem[:8]: row["finding"] for row in rows} == {
        "50a41819": "No finding",
        "21a10246": "Cardiomegaly",
        "9a5094b2": "Pleural thickening",
        "051132a7": "Pulmonary fibrosis",
    }


# BIMCV's PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv: 36 columns, the first without a
# name; in the order in which its readers list them.
_PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,"
    "PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,PixelAspectRatio_DICOM,"
    "SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,"
    "Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,"
    "LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS\n"
)


def _padchest(image: str, day: str, born: str, view: str, labels: str) -> str:
    cells = ["0", image, "7", day, "31415", "271828", born, "M", "", view, "Manual", "No", "DX"]
    rest = [*[""] * 15, "4765777", "sin hallazgos", "Physician", f'"{labels}"', "[]", "[]", "", ""]
    return ",".join([*cells, *rest]) + "\n"


def test_padchest(tmp_path: Path) -> None:
    rows = (
        _padchest("a.png", "20140915", "1938.0", "PA", "['normal']")
        + _padchest("b.png", "20150622", "1993.0", "AP_horizontal", "['NSG tube', 'pneumonia', ]")
        + _padchest("c.png", "20150622", "", "COSTAL", "[]")
        + _padchest("d.png", "20150622", "1993.0", "L", "['laminar atelectasis', 'pneumonia']")
    )
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    root = plant(
        tmp_path / "root",
        {name: _PADCHEST + rows, "7/a.png": "", "7/b.png": "", "54/c.png": "", "d.png": ""},
    )
    listing, found = listed(root, tmp_path)
    assert listing.layout == "padchest"
    assert listing.findings == {
        "normal": 1,
        "NSG tube|pneumonia": 1,
        "laminar atelectasis|pneumonia": 1,
    }
    assert listing.views == {"PA": 1, "AP supine": 1, "unknown": 1, "lateral": 1}
    first = by_name(found)["a.png"]
    assert (first["patient_id"], first["study_id"]) == ("padchest:271828", "31415")
    assert (first["age"], first["sex"]) == (76.0, "M")  # 2014 less 1938
    assert listing.notes.counts == {"unknown_views": 1, "ignored_files": 1}
    (root / name).rename(root / f"{name}.gz")
    with pytest.raises(LayoutError, match="is packed: unpack it, with gunzip"):
        listed(root, tmp_path)
    (root / f"{name}.gz").unlink()
    with pytest.raises(LayoutError, match=r"has no PADCHEST_chest_x_ray_images_labels\*\.csv"):
        listed(root, tmp_path, layout="padchest")


def test_siim_covid19(tmp_path: Path) -> None:
    """Kaggle, siim-covid19-detection: both sheets as they are, and train/study/series/image."""
    studies = (
        "id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,"
        "Atypical Appearance\n00086460a852_study,0,1,0,0\nff0879eb20ed_study,1,0,0,0\n"
    )
    box = "\"[{'x': 789.28836, 'y': 582.43035, 'width': 1026.65662, 'height': 1917.30292}]\""
    images = (
        "id,boxes,label,StudyInstanceUID\n"
        f"000a312787f2_image,{box},opacity 1 789.28836 582.43035 1815.94498 2499.73327,"
        "00086460a852\n000c3a3f293f_image,,none 1 0 0 1 1,ff0879eb20ed\n"
        "gone_image,,none 1 0 0 1 1,ff0879eb20ed\n"
    )
    root = plant(
        tmp_path / "root",
        {
            "train_study_level.csv": studies,
            "train_image_level.csv": images,
            "sample_submission.csv": "id,PredictionString\n000c_study,negative 1 0 0 1 1\n",
            "train/00086460a852/9e8302230c91/000a312787f2.dcm": "",
            "train/00086460a852/9e8302230c91/not-listed.dcm": "",
            "train/ff0879eb20ed/d8a644cc4f93/000c3a3f293f.dcm": "",
            "test/d2cf237688a4/3fde77b139aa/51759b5579bc.dcm": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "siim_covid19"
    assert listing.findings == {"Typical Appearance": 2, "Negative for Pneumonia": 1}
    assert listing.published_splits == {"train": 3}
    found = by_name(rows)
    assert found["000a312787f2.dcm"]["study_id"] == "00086460a852"
    assert found["51759b5579bc.dcm"]["finding"] is None
    assert all(row["header_patient"] for row in rows)
    assert listing.notes.counts == {
        "rows_without_file": 1,
        "files_without_row": 1,
        "ignored_files": 3,
    }
    # Converted and in one folder, they are told by the sheet of images.
    flat = plant(
        tmp_path / "flat",
        {
            "train_study_level.csv": studies,
            "train_image_level.csv": images,
            "train/000a312787f2.png": "",
            "train/000c3a3f293f_image.png": "",
        },
    )
    assert listed(flat, tmp_path)[0].findings == {
        "Typical Appearance": 1,
        "Negative for Pneumonia": 1,
    }
