"""External validation: a bundle on another data set, compared with its internal metrics."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict
from pyspark.sql import SparkSession

from pulmospark.chunks.parts import parts_of, publish_rows
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.inference import ScoringSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import files, limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.provenance import now_utc, provenance
from pulmospark.core.records import Record
from pulmospark.core.result_schemas import ResultOf
from pulmospark.data.cohort.class_mapping import map_findings
from pulmospark.evaluation.by_class import class_differences
from pulmospark.evaluation.evaluate import evaluate_predictions
from pulmospark.evaluation.long_form import Evaluated, metrics_table
from pulmospark.evaluation.recalibrate import Recalibration, fit_recalibration
from pulmospark.evaluation.results import ClassDifference, Evaluation, OperatingPoint
from pulmospark.experiment.audit import images_of
from pulmospark.experiment.external_duplicates import CSV as PAIRS_CSV
from pulmospark.experiment.external_duplicates import (
    TrainingCopies,
    find_training_copies,
    write_training_copies,
)
from pulmospark.inference.batch.predict import plan_predict
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.report.external import write_external_page
from pulmospark.report.external_content import ExternalPage

_NO_CLASS = "finding of no class"
RESULT, PAGE = "external.json", "external.html"
_FACTS = ["uri", "image_id", "source", "patient_id", "finding", "view", "phash"]


class ExternalResult(Record):
    """A bundle's metrics on external images, with those of its own test set."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    model_id: str
    inside: Evaluation | None
    """as stored in the bundle; ``None``: it was never evaluated"""
    outside: Evaluation
    """of the bundle as it is; with recalibration, only images that it was not fitted on"""
    recalibrated: Evaluation | None = None
    """the same images after recalibration"""
    recalibration: Recalibration | None = None
    by_class: tuple[ClassDifference, ...] = ()
    """sensitivity of each class, external against internal; empty if the bundle has no metrics"""
    left_out: dict[str, int]
    """reason for exclusion -> number of images; unmapped findings by name"""
    training_copies: TrainingCopies | None = None
    """evaluated images that are copies of training images"""


@dataclass(frozen=True)
class _Images:
    logits: Floats
    labels: Ints
    groups: npt.NDArray[Any]
    sources: npt.NDArray[Any]
    patient_known: Mask
    facts: pa.Table

    def taken(self, rows: Mask) -> _Images:
        return _Images(
            self.logits[rows],
            self.labels[rows],
            self.groups[rows],
            self.sources[rows],
            self.patient_known[rows],
            self.facts.filter(pa.array(rows)),
        )


def evaluate_external(
    folder: Path,
    table: Path,
    target: Path,
    spark: SparkSession | None,
    *,
    classes: Mapping[str, Sequence[str]],
    recalibrate: int = 0,
    settings: EvaluateSettings | None = None,
    seed: int = 20201,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> ExternalResult:
    """Evaluate a bundle on the images of an external images table.

    Images of views that the bundle was not made for are excluded, as in its own split.

    Args:
        folder: of the bundle.
        table: folder of an images table, or of an ingest.
        target: folder of the result: predictions, metrics, ``external.json``, ``external.html``.
        spark: the session; ``None``: in this process, image by image.
        classes: class of the bundle -> findings of the table. A finding that no class claims
            gets the class of the same name, ignoring case.
        recalibrate: patients (images where none is known) on whom temperature and offsets are
            refitted; they are then excluded from the metrics. 0: none.
        settings: of the evaluation.
        seed: of the choice of those patients, and of the bootstrap.
        store: that ``target`` is published in, all that workers elsewhere share.
        quiet: show no progress.

    Raises:
        InputError: no images table, no image to evaluate, or too few for the recalibration.
        ClassError: a class of ``classes`` is not in the bundle, or no image has a class.
        BundleError: the bundle cannot be used.
    """
    bundle = read_bundle(folder)
    images = images_of(table)
    facts = pa.concat_tables([pq.read_table(part, columns=_FACTS) for part in parts_of(images)])
    labels = _labels(facts, bundle, classes)
    # The report says which sets are phantoms.
    scoring = ScoringSettings(allow_phantom_model=True)
    plan = plan_predict(folder, [str(images)], target, settings=scoring)
    replace(plan, store=store).run(spark, quiet=quiet)
    scores = pq.read_table(target / "predictions", columns=["uri", "logits"])
    scored, left_out = _joined(facts, labels, scores, _views(bundle))
    settings = settings or EvaluateSettings()
    temperature = bundle.config.temperature
    fitted: Recalibration | None = None
    if recalibrate:
        local = _local(scored, recalibrate, seed)
        fitted = fit_recalibration(scored.logits[local], scored.labels[local], start=temperature)
        left_out["in the local sample"] = int(local.sum())
        scored = scored.taken(~local)
    plain = Recalibration(
        temperature=temperature, offsets=(0.0,) * len(bundle.config.classes), images=0
    )
    copies, pairs = find_training_copies(bundle, scored.facts, images)
    if pairs.num_rows:
        write_training_copies(pairs, target)
    inside, outside = _inside(bundle), _figures(scored, plain, bundle, settings, seed)
    result = ExternalResult(
        folder=target,
        model_id=bundle.model_id,
        inside=inside,
        outside=outside,
        by_class=class_differences(inside, outside) if inside else (),
        recalibrated=_figures(scored, fitted, bundle, settings, seed) if fitted else None,
        recalibration=fitted,
        left_out=left_out,
        training_copies=copies,
    )
    mapping = {name: list(findings) for name, findings in classes.items()}
    made_by = provenance({"classes": mapping, "recalibrate": recalibrate}, seed=seed)
    _publish_metrics(result, scored, bundle)
    record = {"result": result.model_dump(mode="json"), "provenance": made_by}
    files.write_json(target / RESULT, record)
    write_external_page(_page(result, scored, bundle, images, made_by), target / PAGE)
    return result


def _publish_metrics(result: ExternalResult, scored: _Images, bundle: Bundle) -> None:
    """The metrics as a table, those after recalibration as of a run of their own."""
    name = ", ".join(sorted(set(scored.sources.tolist())))
    runs = {name: result.outside}
    if result.recalibrated is not None:
        runs[f"{name}, recalibrated"] = result.recalibrated
    at = now_utc()
    tables = [
        metrics_table(
            [Evaluated("image", None, evaluation)],
            ResultOf(run, None, at),
            model_id=bundle.model_id,
            model=bundle.config.model,
        )
        for run, evaluation in runs.items()
    ]
    with files.whole_folder(result.folder / "metrics") as aside:
        publish_rows(pa.concat_tables(tables), aside)


def _page(
    result: ExternalResult, scored: _Images, bundle: Bundle, images: Path, made_by: dict[str, Any]
) -> ExternalPage:
    sources = sorted(set(scored.sources.tolist()))
    mapping = made_by["settings"]["classes"]
    return ExternalPage(
        title=", ".join(sources),
        made_at=now_utc(),
        is_phantom=_of_phantoms(images.resolve().parent.parent),
        inside_is_phantom=bundle.config.phantoms or _of_phantoms(bundle.folder.resolve().parent),
        model=bundle.config.model,
        model_id=bundle.model_id,
        inside=result.inside,
        outside=result.outside,
        recalibrated=result.recalibrated,
        recalibration=result.recalibration,
        temperature=bundle.config.temperature,
        sources=tuple(sources),
        mapping=tuple((name, tuple(findings)) for name, findings in mapping.items()),
        images_without_patient=int(np.count_nonzero(~scored.patient_known)),
        left_out=tuple(result.left_out.items()),
        training_copies=copies_sentence(result.training_copies, result.outside.images),
        provenance=made_by,
    )


def copies_sentence(copies: TrainingCopies | None, scored: int) -> str:
    """A sentence on the search for copies of training images."""
    if copies is None or not copies.assessable:
        why = "no search was made" if copies is None else copies.why
        return f"Whether the set contains copies of training images is not assessable: {why}."
    part = f" The search is incomplete: {copies.why}." * bool(copies.why)
    among = f"{scored:,} images, compared with {copies.training:,} training images"
    if not copies.copies:
        return f"No copy of a training image among the {among}.{part}"
    return (
        f"{copies.exact:,} exact and {copies.near:,} near copies of training images among the "
        f"{among}: the model may have memorised them, so the metrics may be too high by up to "
        f"{copies.copies / scored:.1%}. {PAIRS_CSV} lists them.{part}"
    )


def _of_phantoms(run: Path) -> bool:
    """Whether a folder is that of a run on phantoms."""
    settings = run / "experiment.json"
    return settings.is_file() and files.read_json(settings).get("phantoms") is True


def _labels(
    facts: pa.Table, bundle: Bundle, classes: Mapping[str, Sequence[str]]
) -> list[int | None]:
    names = list(bundle.config.classes)
    if unknown := sorted(set(classes) - set(names)):
        raise ClassError(
            f"{unknown[0]!r} is not a class of the bundle: choose from "
            f"{', '.join(map(repr, names))}"
        )
    pairs = list(zip(facts["source"].to_pylist(), facts["finding"].to_pylist(), strict=True))
    known = sorted({(source, finding) for source, finding in pairs if finding is not None})
    mapped = map_findings(known, classes) if classes else {}
    by_name = map_findings(known, {name: (name,) for name in names})
    # A mapping of one class does not affect the others: they keep their names.
    mapped = {pair: mapped.get(pair) or by_name[pair] for pair in known}
    assigned = [mapped.get((s, f)) if f is not None else None for s, f in pairs]
    if not any(assigned):
        some = ", ".join(sorted({repr(f) for _, f in pairs if f is not None})[:6]) or "none"
        raise ClassError(
            f"no image has a class of the bundle ({', '.join(map(repr, names))}); its "
            f"findings are "
            f"{some}: map them with --class 'COVID-19=finding,...'"
        )
    return [None if name is None else names.index(name) for name in assigned]


def _views(bundle: Bundle) -> tuple[str, ...]:
    """Views that the bundle was made for; the defaults if an older version made it."""
    return tuple(bundle.config.data.get("views") or SplitSettings().views)


def _joined(
    facts: pa.Table, labels: list[int | None], scores: pa.Table, views: Sequence[str]
) -> tuple[_Images, dict[str, int]]:
    places = pc.index_in(facts["uri"], value_set=scores["uri"].combine_chunks()).to_pylist()
    reasons: Counter[str] = Counter()
    ids: set[str] = set()
    rows = []
    columns = (facts[name].to_pylist() for name in ("image_id", "view", "finding"))
    seen = zip(places, labels, *columns, strict=True)
    for row, (place, label, image, view, finding) in enumerate(seen):
        reason = (
            f"view: {view}"
            if view not in views
            else (f"{_NO_CLASS}: {finding}" if finding is not None else "no finding is known")
            if label is None
            else "not scored"
            if place is None
            else "identical file"
            if image in ids
            else None
        )
        if reason:
            reasons[reason] += 1
            continue
        ids.add(image)
        rows.append(row)
    if not rows:
        why = ", ".join(f"{count:,} for {reason!r}" for reason, count in reasons.most_common())
        raise InputError(
            f"no image of the table is included ({why}); the bundle was made for the views "
            f"{', '.join(views)}: give a table that has them, or train on the others"
        )
    taken = facts.take(pa.array(rows, pa.int64()))
    groups = pc.coalesce(taken["patient_id"], taken["image_id"])
    logits = scores["logits"].take(pa.array([places[row] for row in rows], pa.int64()))
    scored = _Images(
        logits=np.asarray(logits.to_pylist(), np.float64),
        labels=np.asarray([labels[row] for row in rows], np.int64),
        groups=np.asarray(groups.to_pylist()),
        sources=np.asarray(taken["source"].to_pylist()),
        patient_known=np.asarray(pc.is_valid(taken["patient_id"]), np.bool_),
        facts=taken,
    )
    return scored, _named(reasons)


def _named(reasons: Counter[str]) -> dict[str, int]:
    """Reasons and counts: the most frequent unmapped findings by name, the rest summed."""
    findings = [reason for reason, _ in reasons.most_common() if reason.startswith(_NO_CLASS)]
    rest = findings[limits.EXCLUDED_FINDINGS_NAMED_MAX :]
    shown = {reason: count for reason, count in reasons.items() if reason not in set(rest)}
    if rest:
        shown[f"{_NO_CLASS}: {len(rest):,} others"] = sum(reasons[reason] for reason in rest)
    return shown


def _local(scored: _Images, patients: int, seed: int) -> Mask:
    """Images of the first patients by hash."""
    names = sorted(
        set(scored.groups.tolist()),
        key=lambda name: hashlib.sha256(f"{seed}:local:{name}".encode()).digest(),
    )
    if patients * 2 > len(names):
        raise InputError(
            f"--recalibrate {patients}: over half of the {len(names)} patients of the table: give "
            "fewer"
        )
    return np.isin(scored.groups, names[:patients])


def _figures(
    scored: _Images,
    recalibration: Recalibration,
    bundle: Bundle,
    settings: EvaluateSettings,
    seed: int,
) -> Evaluation:
    point = None
    if bundle.config.operating_points:
        point = OperatingPoint(**bundle.config.operating_points[0].model_dump())
    return evaluate_predictions(
        scored.labels,
        recalibration.probabilities(scored.logits),
        scored.groups,
        bundle.config.classes,
        settings,
        seed,
        sources=scored.sources,
        operating_point=point,
    )


def _inside(bundle: Bundle) -> Evaluation | None:
    metrics = bundle.metrics.get("evaluation")
    return Evaluation.model_validate(metrics) if metrics else None
