"""What cannot be measured is not assessable: no audit passes for want of anything to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.audit_images import CLASSES, clean_subject, copies_of, no_copies, with_hits

from audit.heat_networks import upper_half_network
from pulmospark.audit import (
    augmented_copies,
    class_balance,
    exact_duplicates,
    features,
    heat_maps,
    near_duplicates,
    out_of_distribution,
    patients,
    shortcuts,
    single_feature,
    subgroups,
)
from pulmospark.audit.model_outputs import Scored, stratified
from pulmospark.audit.results import AuditResult
from pulmospark.audit.run import run_audits
from pulmospark.audit.subject import Subject

IMAGES = 600
KINDS = {kind.name: kind for kind in single_feature.KINDS}
COVERS = ("whole", "without lungs", "only border", "only lungs", "without text")


def looks(value: float | None = None) -> dict[str, np.ndarray]:
    if value is None:
        return dict(no_copies(IMAGES).looks)
    return {name: np.full(IMAGES, value) for name in ("mean", "border_mean")}


def said(result: AuditResult, *why: str) -> None:
    """A result that is not assessable, says so, and says why."""
    assert result.verdict == "not assessable", (result.name, result.sentence)
    assert "ot assessable" in result.sentence or result.name == "children"
    for text in why:
        assert text in result.sentence


CONSTANT: dict[str, dict[str, Any]] = {
    "source": {"source": ["alder"] * IMAGES},
    "age": {"age": [50.0] * IMAGES},
    "sex": {"sex": ["F"] * IMAGES},
    "view": {"view": ["PA"] * IMAGES},
    "size": {"height": [512] * IMAGES, "width": [512] * IMAGES},
    "format": {"format": ["png"] * IMAGES},
    "compression": {"height": [512] * IMAGES, "width": [512] * IMAGES, "size_bytes": [9] * IMAGES},
    "border": {},
    "brightness": {},
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_the_same_for_all_tells_no_class_and_is_no_pass(name: str) -> None:
    subject = clean_subject(IMAGES, **CONSTANT[name])
    said(single_feature.audit(subject, looks(90.0), KINDS[name]), "the same for all images")
    # So is one that is known of nobody.
    none = {key: [None] * IMAGES for key in CONSTANT[name]}
    columns: dict[str, Any] = {
        k: pa.nulls(IMAGES, pa.float64()) if k != "source" else v for k, v in none.items()
    }
    bare = clean_subject(IMAGES, **columns)
    if none and name != "source":
        said(single_feature.audit(bare, looks(), KINDS[name]), "not known of any image")


def test_bytes_are_of_a_pixel_and_not_of_a_file() -> None:
    """Larger images have larger files: a third of a byte a pixel is one value for all."""
    heights = [512 if n % 3 else 1536 for n in range(IMAGES)]
    sizes = [height * 256 // 3 for height in heights]
    subject = clean_subject(IMAGES, height=heights, width=[256] * IMAGES, size_bytes=sizes)
    found = single_feature._bytes_per_pixel(subject)
    np.testing.assert_allclose(found, 1 / 3, atol=1e-5)


def test_a_source_that_is_one_within_the_classes_compared_is_one() -> None:
    """The other source stands in a class of too few patients, which takes no part."""
    labels = [CLASSES[2] if n < 8 else CLASSES[n // 2 % 2] for n in range(IMAGES)]
    sources = ["cedar" if n < 8 else "alder" for n in range(IMAGES)]
    subject = clean_subject(IMAGES, label=labels, source=sources)
    said(single_feature.audit(subject, looks(), KINDS["source"]), "the same for all images")


@pytest.mark.parametrize("name", KINDS)
def test_one_class_or_few_patients_tell_nothing(name: str) -> None:
    one = clean_subject(IMAGES, label=["normal"] * IMAGES)
    said(single_feature.audit(one, looks(), KINDS[name]), "fewer than two classes")
    few = [f"alder:{n % 9}" for n in range(IMAGES)]
    said(single_feature.audit(clean_subject(IMAGES, group_id=few), looks(), KINDS[name]))


def test_copies_need_two_patients_two_classes_and_a_whole_search() -> None:
    alone = clean_subject(IMAGES, patient_id=["alder:1"] * IMAGES, group_id=["alder:1"] * IMAGES)
    said(near_duplicates.audit(alone, no_copies(IMAGES)), "no two patients")
    said(patients.audit(alone), "one patient")
    one = clean_subject(IMAGES, label=["normal"] * IMAGES)
    said(near_duplicates.conflicts(one, no_copies(IMAGES)), "fewer than two classes")
    clean = clean_subject(IMAGES)
    assert near_duplicates.audit(clean, no_copies(IMAGES)).verdict == "pass"
    for part, why in (
        ({"hot_buckets": 1}, "1 bucket of images with nearly the same hash was not searched"),
        ({"distance": 4}, "hashes were compared within 4 bits only, not 12"),
    ):
        searched = replace(no_copies(IMAGES), **cast("Any", part))
        said(near_duplicates.audit(clean, searched), why)
        said(near_duplicates.conflicts(clean, searched), why)
    # What was found in a part of the search stays found.
    labels = clean.labels
    pair = (0, int(np.flatnonzero(labels != labels[0])[0]))
    some = replace(copies_of(IMAGES, [pair]), hot_buckets=1)
    assert near_duplicates.conflicts(clean, some).verdict == "warn"


def test_files_without_a_hash_are_not_told_apart() -> None:
    said(exact_duplicates.audit(clean_subject(IMAGES, image_id=[None] * IMAGES)))


def _expanded(folder: Path, parents: list[str | None]) -> Path:
    folder.mkdir()
    rows = {"parent_uri": pa.array(parents, pa.string()), "split": ["train"] * len(parents),
            "fold": pa.nulls(len(parents), pa.int32())}  # fmt: skip
    pq.write_table(pa.table(rows), folder / "a.parquet")
    return folder


def test_a_table_without_augmented_copies_says_nothing_of_them(tmp_path: Path) -> None:
    subject = clean_subject(IMAGES)
    empty = _expanded(tmp_path / "none", [None, None])
    said(augmented_copies.audit(replace(subject, expanded=empty)), "no augmented copy")
    trained = [u for u, s in zip(subject.column("uri"), subject.column("split"), strict=True)
               if s == "train"]  # fmt: skip
    found = augmented_copies.audit(
        replace(subject, expanded=_expanded(tmp_path / "e", trained * 5))
    )
    assert found.verdict == "pass"
    figure = found.figures[0].figure
    # Copies of one image stand or fall together: 5 a parent are worth one.
    assert figure.effective == pytest.approx(len(trained), abs=0.01)


def test_ages_of_a_few_patients_are_no_knowledge_of_a_class() -> None:
    labels = clean_subject(IMAGES).labels
    age: list[float | None] = [60.0] * IMAGES
    hidden = np.flatnonzero(labels == 1)
    for place in hidden[8:]:  # ages of four patients are left
        age[place] = None
    found = class_balance.children(clean_subject(IMAGES, age=age))
    assert found.verdict == "not assessable"
    assert f"fewer than 10 patients in {CLASSES[1]}" in found.sentence


def test_layouts_know_whose_images_are_of_children() -> None:
    """Radiography database: viral pneumonias are Kermany's children, COVID-19 is of adults."""
    labels = clean_subject(IMAGES).labels
    nobody = [None] * IMAGES
    findings = [("COVID", "Normal", "Viral Pneumonia")[n] for n in labels]
    subject = clean_subject(IMAGES, source=["rdb"] * IMAGES, age=nobody, finding=findings)
    told = class_balance.children(replace(subject, layouts={"rdb": "radiography_database"}))
    assert told.verdict == "fail"
    assert CLASSES[2] in told.sentence
    assert "fewer than 10 patients in normal" in told.sentence  # partly Kermany's, partly not
    # Children in every class are in no class only.
    all_young = replace(subject, layouts={"rdb": "kermany"})
    assert class_balance.children(all_young).verdict == "pass"
    assert (
        class_balance.children(replace(subject, layouts={"rdb": "csv"})).verdict
        == "not assessable"
    )


def test_support_does_not_advise_the_folds_that_are_there() -> None:
    plain = class_balance.support(clean_subject(60))
    assert "split.folds=5" in plain.remedy
    folds = class_balance.support(clean_subject(60, fold=[n // 2 % 5 for n in range(60)]))
    assert folds.verdict == "fail"
    assert "folds" not in folds.remedy
    said(
        class_balance.support(
            replace(clean_subject(60, label=pa.nulls(60, pa.string())), classes=())
        )
    )


def _predicted(subject: Subject) -> Subject:
    rows = subject.rows
    random = np.random.default_rng(2)
    return replace(subject, predictions=with_hits(rows, random.random(rows.num_rows) < 0.8, 0.8))


def test_one_subgroup_cannot_fall_behind_itself() -> None:
    one = {"sex": ["F"] * IMAGES, "view": ["PA"] * IMAGES, "source": ["alder"] * IMAGES,
           "age": pa.nulls(IMAGES, pa.float32())}  # fmt: skip
    subject = _predicted(clean_subject(IMAGES, **one))
    said(subgroups.accuracy(subject, subgroups.tested(subject)), "no subgroup")
    assert subgroups.calibration(subject, subgroups.tested(subject)).verdict == "pass"
    few = _predicted(clean_subject(IMAGES, **{**one, "sex": ["M"] * 9 + ["F"] * (IMAGES - 9)}))
    said(subgroups.accuracy(few, subgroups.tested(few)))
    both = _predicted(clean_subject(IMAGES))
    assert subgroups.accuracy(both, subgroups.tested(both)).verdict == "pass"


def test_probabilities_that_are_no_numbers_are_not_calibrated() -> None:
    subject = _predicted(clean_subject(IMAGES))
    images = subgroups.tested(subject)
    assert images is not None
    wrong = replace(images, confidence=np.full(images.confidence.size, np.nan))
    said(subgroups.calibration(subject, wrong), "not finite")
    none = replace(images, subgroups={"sex: F": np.zeros(images.right.size, bool)})
    said(subgroups.calibration(subject, none))


def scored(subject: Subject, **changes: Any) -> Scored:
    """A model that names the classes from whole images, and not without the lungs."""
    random = np.random.default_rng(7)
    size = subject.rows.num_rows
    chances = {}
    for cover in COVERS:
        logits = random.normal(0, 1, (size, 3))
        if cover not in {"without lungs", "only border"}:
            logits[np.arange(size), subject.labels] += 3.0
        chances[cover] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    told = random.normal(0, 1, (size, 8))
    told[np.arange(size), subject.labels] += 2.0
    config = SimpleNamespace(classes=CLASSES, input_size=32, method="features")
    return replace(
        Scored(
            bundle=cast("Any", SimpleNamespace(config=config, network=lambda: None)),
            rows=np.arange(size),
            probabilities=chances,
            features=told,
            unseen=subject.tested,
            region=np.eye(8, dtype=np.bool_),
        ),
        **changes,
    )


def test_a_model_that_knows_nothing_has_nothing_to_lose() -> None:
    subject = clean_subject(IMAGES)
    sound = scored(subject)
    assert shortcuts.covered(subject, sound).verdict == "pass"
    assert shortcuts.burned_in_text(subject, sound).verdict == "pass"
    flat = {name: np.full((IMAGES, 3), 1 / 3) for name in COVERS}
    said(shortcuts.covered(subject, replace(sound, probabilities=flat)), "does not separate")
    said(
        shortcuts.burned_in_text(subject, replace(sound, probabilities=flat)),
        "nothing was removed",
    )
    noise = np.random.default_rng(5).dirichlet(np.ones(3), (5, IMAGES))
    blind = replace(sound, probabilities=dict(zip(COVERS, noise, strict=True)))
    said(shortcuts.covered(subject, blind), "does not separate the classes")
    said(shortcuts.burned_in_text(subject, blind), "does not separate the classes")


def test_images_without_text_or_without_a_place_outside_the_lungs() -> None:
    subject = clean_subject(IMAGES)
    sound = scored(subject)
    whole = sound.probabilities["whole"]
    bare = {**sound.probabilities, "without text": whole.copy()}
    said(
        shortcuts.burned_in_text(subject, replace(sound, probabilities=bare)),
        "nothing was removed",
    )
    everywhere = replace(sound, region=np.ones((8, 8), bool))
    said(shortcuts.covered(subject, everywhere), "covers the whole image")


def test_with_folds_the_kept_model_is_not_asked_about_what_it_learned() -> None:
    folds = [n // 2 % 5 for n in range(IMAGES)]
    subject = clean_subject(IMAGES, fold=folds)
    model = scored(subject, unseen=np.zeros(IMAGES, bool))
    # The kept model reads letters; regressions without an image's fold do not.
    covered = dict.fromkeys(COVERS, model.features)
    learned = {name: np.eye(3)[subject.labels] * 0.9 + 1 / 30 for name in COVERS}
    learned["without text"] = np.roll(learned["whole"], 1, axis=1)
    model = replace(model, probabilities=learned)
    kept = replace(model, covered=covered)
    said(shortcuts.burned_in_text(subject, kept), "nothing was removed")
    for name in ("without lungs", "only border"):
        covered[name] = np.random.default_rng(1).normal(0, 1, model.features.shape)
    found = shortcuts.covered(subject, kept)
    assert found.verdict == "pass"
    assert "fitted without its fold" in found.sentence
    # A network that was trained itself has seen them all, and its folds' are not kept.
    for method in ("network", "features"):
        config = SimpleNamespace(classes=CLASSES, input_size=32, method=method)
        other = replace(model, bundle=cast("Any", SimpleNamespace(config=config)))
        for run in (shortcuts.burned_in_text, shortcuts.covered):
            said(run(subject, other), "trained on all of these images")


def test_out_of_fold_means_that_a_folds_labels_do_not_matter() -> None:
    """Wrong labels in one fold leave its own images' scores as they were."""
    folds = np.asarray([n // 2 % 5 for n in range(IMAGES)])
    subject = clean_subject(IMAGES, fold=folds.tolist())
    model = scored(subject, unseen=np.zeros(IMAGES, bool))
    model = replace(model, covered={"whole": model.features})
    labels = subject.labels
    before = shortcuts._out_of_fold(subject, model, labels)["whole"]
    other = labels.copy()
    other[folds == 2] = (labels[folds == 2] + 1) % 3
    after = shortcuts._out_of_fold(subject, model, other)["whole"]
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert np.abs(before[folds == 1] - after[folds == 1]).max() > 0.01
    assert (before.argmax(axis=1) == labels).mean() > 0.6


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("run", [features.source, features.left_out_source, features.unlike])
def test_features_that_do_not_vary_hold_nothing(run: Callable[..., AuditResult], value: float
                                                ) -> None:  # fmt: skip
    subject = clean_subject(IMAGES)
    said(run(subject, scored(subject, features=np.full((IMAGES, 8), value))), "features")


def test_few_patients_have_no_others_to_be_unlike() -> None:
    few = [f"alder:{n % 9}" for n in range(IMAGES)]
    subject = clean_subject(IMAGES, group_id=few)
    said(features.unlike(subject, scored(subject)), "fewer than 10 patients")
    assert features.unlike(clean_subject(IMAGES), scored(clean_subject(IMAGES))).verdict == "pass"


def test_features_that_tell_no_class_inside_lose_nothing_outside() -> None:
    subject = clean_subject(IMAGES)
    noise = np.random.default_rng(3).normal(0, 1, (IMAGES, 8))
    said(features.left_out_source(subject, scored(subject, features=noise)), "do not separate")


def test_a_model_of_no_numbers_is_sure_of_nothing() -> None:
    subject = clean_subject(120)
    model = scored(subject)
    images = np.zeros((16, 32, 32), np.uint8)

    def sound(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(pictures), 3), 1 / 3), np.zeros((len(pictures), 8))

    def broken(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(pictures), 3), np.nan), np.zeros((len(pictures), 8))

    said(out_of_distribution.audit(subject, model, images, broken), "not finite")
    flat = {name: np.full((120, 3), 1 / 3) for name in COVERS}
    constant = replace(model, probabilities=flat)
    said(out_of_distribution.audit(subject, constant, images, sound), "the same for every image")


def _heat(said_classes: list[int], patients_of: list[int], *, region: np.ndarray | None = None,
          cold: bool = False) -> AuditResult:  # fmt: skip
    size = len(said_classes)
    subject = clean_subject(size, group_id=[f"g{n}" for n in patients_of])
    upper = np.zeros((8, 8), bool)
    upper[:4] = True
    model = scored(subject, region=upper if region is None else region)
    whole = np.eye(3)[said_classes]
    model = replace(model, probabilities={"whole": whole})
    network = SimpleNamespace(
        config=model.bundle.config, network=lambda: upper_half_network(cold=cold)
    )
    model = replace(model, bundle=cast("Any", network))
    images = np.zeros((size, 8, 8), np.uint8)
    return heat_maps.audit(subject, model, np.arange(size), images)


def test_heat_maps_name_each_class_with_its_count_and_do_not_pass_a_rare_one_over() -> None:
    whole = _heat([0] * 10 + [1] * 10 + [2] * 10, list(range(30)))
    assert whole.verdict == "pass"
    assert {one.name for one in whole.figures} == {
        f"heat outside the lungs, {name}: 10 images of 10 patients" for name in CLASSES
    }
    rare = _heat([0] * 10 + [1] * 10 + [2] * 10, [*range(20), *[20] * 4, *range(21, 27)])
    said(rare, "pneumonia (10 images of 7 patients)")
    assert len(rare.figures) == 2
    none = _heat([0] * 10 + [1] * 10, list(range(20)))
    said(none, "pneumonia (0 images of 0 patients)")


def test_heat_that_cannot_lie_elsewhere_is_no_heat_on_the_lungs() -> None:
    each = [0] * 10 + [1] * 10 + [2] * 10
    for region in (np.ones((8, 8), bool), np.zeros((8, 8), bool)):
        said(_heat(each, list(range(30)), region=region), "the lung region covers")
    said(_heat(each, list(range(30)), cold=True), "no class was predicted")
    lower = np.zeros((8, 8), bool)
    lower[5:] = True
    assert _heat(each, list(range(30)), region=lower).verdict == "fail"


def test_the_sample_of_heat_maps_has_as_many_images_of_a_rare_class() -> None:
    subject = clean_subject(IMAGES)
    each = np.zeros(IMAGES, np.int64)
    each[300:312], each[400:404] = 1, 2
    model = scored(subject, probabilities={"whole": np.eye(3)[each]})
    places = stratified(model, subject.groups, 30)
    assert np.bincount(each[places]).tolist() == [14, 12, 4]
    assert (np.diff(places) > 0).all()
    # An image of each patient comes before a second one of any.
    groups = np.repeat(np.arange(IMAGES // 6), 6)
    of_most = stratified(model, groups, 60)
    most = groups[of_most[each[of_most] == 0]]
    assert np.unique(most).size == most.size


def test_skipping_near_copies_skips_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pulmospark.audit import evidence

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("near copies were searched for")

    monkeypatch.setattr(evidence, "find_near_copies", refuse)
    monkeypatch.setattr(evidence, "grey_levels", lambda *_, **__: looks())
    subject = clean_subject(IMAGES)
    skip = subject.settings.model_copy(update={"skip": ("near_duplicates",)})
    told = run_audits(replace(subject, settings=skip), tmp_path, cast("Any", None), quiet=True)
    found = {one.name: one for one in told.audits}
    assert "near_duplicates" not in found
    said(found["label_conflict"], "near-copy search is skipped")
    assert found["class_by_border"].verdict == found["class_by_brightness"].verdict == "pass"
    assert found["class_by_source"].figures
    with pytest.raises(AssertionError, match="searched for"):
        run_audits(subject, tmp_path, cast("Any", None), quiet=True)


def test_older_audits_are_read() -> None:
    told = AuditResult.model_validate(
        {"name": "a", "title": "A", "verdict": "open", "sentence": "Not told."}
    )
    assert told.verdict == "not assessable"
