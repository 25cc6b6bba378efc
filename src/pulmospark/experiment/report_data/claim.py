"""The CLAIM checklist of a run, filled in from its settings, split, training and metrics."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.claim_checklist import ClaimItem, checklist
from pulmospark.config.experiment import Experiment
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.split_summary import SplitResult, grouping_sentences, read_split
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.ingest.ingest import IngestResult, read_ingest
from pulmospark.experiment.audit import shown_audits
from pulmospark.experiment.evaluate import EvaluateResult, read_evaluation
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.models.zoo import networks
from pulmospark.report.audit_content import Audits
from pulmospark.training.recipe import network_settings
from pulmospark.training.results import TrainResult, regression_method
from pulmospark.training.train import read_training


def claim_of(experiment: Experiment, run: RunFolder) -> tuple[ClaimItem, ...]:
    """The checklist, filled in from an evaluated run.

    Raises:
        InputError: a stage is missing.
    """
    ingested, parted = read_ingest(run.tables), read_split(run.cohort)
    trained, evaluated = read_training(run.training), read_evaluation(run.evaluation)
    known = {
        **_data(experiment, ingested, parted, run),
        **_model(experiment, trained),
        **_figures(experiment, parted, evaluated),
        **_audited(shown_audits(run)),
    }
    return checklist(known)


def _data(
    experiment: Experiment, ingested: IngestResult, parted: SplitResult, run: RunFolder
) -> dict[int, str]:
    settings, split = experiment.ingest, experiment.split
    excluded = "; ".join(f"{e.images:,} of {e.source}: {e.reason}" for e in parted.exclusions)
    rejects = ", ".join(f"{n:,} {reason}" for reason, n in ingested.rejects_by_reason.items())
    shares = (
        f"{split.folds} folds; {split.validation:.0%} of the others for validation"
        if split.folds
        else f"training {split.train:.0%}, validation {split.validation:.0%}, test "
        f"{split.test:.0%}"
    )
    if split.images:
        shares = "fixed numbers of images of each class for training, validation and test"
    drawn = "synthetic phantoms, laid out as " if experiment.phantoms else ""
    return {
        7: "; ".join(f"{s.name}: {drawn}{s.title}, {s.files:,} files" for s in ingested.sources),
        8: f"Views {', '.join(split.views)}; findings mapped to the classes "
        f"{', '.join(parted.classes)}. Excluded: {excluded or 'none'}.",
        9: f"8-bit greyscale, {settings.size} x {settings.size} pixels, resized with fit="
        f"{settings.fit!r}"
        + (f", cropped to the {settings.crop}" if settings.crop != "none" else "")
        + "; 16-bit images windowed.",
        10: f"Near copies: {split.copies}; balanced by: {split.balance}; identical files count "
        f"once. {' '.join(grouping_sentences(parted))}".rstrip(),
        12: _missing(run),
        19: f"{shares}; stratified by class and source, seed {experiment.seed}.",
        20: "Patients; where unknown, images grouped by study, scan, name or near copies. "
        + " ".join(w for w in parted.warnings if "patient" in w),
        35: f"{ingested.files:,} files: {ingested.images:,} images, {ingested.rejects:,} rejects"
        f" ({rejects or 'none'}); {parted.images:,} images included, {parted.excluded:,} "
        f"excluded.",
        36: _people(run),
    }


def _missing(run: RunFolder) -> str:
    rows = read_cohort(run.cohort)
    share = {
        name: rows[name].null_count / max(rows.num_rows, 1)
        for name in ("patient_id", "age", "sex")
    }
    return (
        f"Unknown: patient of {share['patient_id']:.0%}, age of {share['age']:.0%}, sex of "
        f"{share['sex']:.0%} of the images. No imputation."
    )


def _people(run: RunFolder) -> str:
    rows = read_cohort(run.cohort)
    part = np.asarray(
        [f"fold {f + 1}" if f is not None else s for f, s in
         zip(rows["fold"].to_pylist(), rows["split"].to_pylist(), strict=True)]
    )  # fmt: skip
    ages = np.asarray(rows["age"].to_numpy(zero_copy_only=False), np.float64)
    sex, groups = np.asarray(rows["sex"].to_pylist()), np.asarray(rows["group_id"].to_pylist())
    parts = []
    for name in sorted(set(part.tolist())):
        here = part == name
        known = ages[here & ~np.isnan(ages)]
        years = f"median age {np.median(known):.0f}" if known.size else "ages unknown"
        women, men = int((sex[here] == "F").sum()), int((sex[here] == "M").sum())
        parts.append(
            f"{name}: {here.sum():,} images of {np.unique(groups[here]).size:,} groups, {years}, "
            f"{women:,} images of women and {men:,} of men"
        )
    return "; ".join(parts) + "."


def _model(experiment: Experiment, trained: TrainResult) -> dict[int, str]:
    train, known = experiment.train, networks.entry(trained.model)
    libraries = provenance({})["libraries"]
    if trained.method == "features":
        how = (
            f"Frozen network; on its deep features, {regression_method(trained, train.logistic)}."
        )
    else:
        net = network_settings(train)
        how = (
            f"{net.optimiser}, at most {net.epochs} epochs, batch size {net.batch_size}, learning "
            f"rate {net.learning_rate:g}, {train.processes} processes."
        )
    start = trained.weights["file"] if trained.weights else "random initialisation, seeded"
    return {
        22: f"{known.title}, {trained.parameters:,} parameters, classes "
        f"{', '.join(trained.classes)}.",
        23: ", ".join(f"{name} {version}" for name, version in libraries.items()),
        24: str(start),
        25: how,
        26: _chosen(trained),
        27: "None.",
    }


def _chosen(trained: TrainResult) -> str:
    """How the model, its temperature and its operating point were chosen."""
    validated = all(model.validation_images for model in trained.models)
    point = trained.models[-1].operating_point
    few = (
        "" if point.positives is None else f" The latter is based on {point.positives} positives."
    )
    if all(model.calibrated_by == "out-of-fold" for model in trained.models):
        return (
            "Regularisation, temperature and operating point from out-of-fold scores of the "
            f"training images; test images are not used.{few}"
        )
    if trained.method == "features":
        again = "Refitted with the validation split; n" if validated else "N"
        model = f"{again}o model selection."
    else:
        otherwise = "" if validated else ", or on the training split where there is none"
        model = f"The epoch with the lowest loss on the validation split{otherwise}."
    otherwise = "" if validated else "; without one they are 1 and 0.5"
    return (
        f"{model} Temperature and operating point from the validation split alone{otherwise}.{few}"
    )


def _figures(
    experiment: Experiment, parted: SplitResult, evaluated: EvaluateResult
) -> dict[int, str]:
    evaluation = evaluated.evaluation
    by_class = "; ".join(
        f"{row.name}: sensitivity {row.sensitivity.text()}, specificity "
        f"{row.specificity.text()}, AUROC {row.auroc.text()}"
        for row in evaluation.by_class
    )
    return {
        28: "Accuracy, balanced accuracy, AUROC, average precision, sensitivity, specificity, "
        "PPV, NPV, F1, MCC, log loss, Brier score, calibration error; compared with two "
        "image-blind baselines.",
        29: f"{evaluation.confidence:.0%} CIs over patients: Wilson's on the effective number of "
        f"images for proportions, bootstrap with {evaluation.replicates:,} replicates otherwise.",
        32: f"{evaluation.images:,} images of {evaluation.groups:,} groups, each predicted by a "
        f"model not trained on it{f', in {parted.folds} folds' if parted.folds else ''}.",
        37: f"Accuracy {evaluation.accuracy.text()}, mean AUROC {evaluation.macro_auroc.text()}.",
        38: by_class + ".",
        39: "The report shows the misclassified images of the highest confidence.",
        43: f"pulmospark (Apache-2.0); model {evaluated.model_id}; settings and seed "
        f"{experiment.seed} in the run's folder.",
    }


def _audited(audits: Audits | None) -> dict[int, str]:
    if audits is None:
        return {}
    results = [audit.result for audit in audits.shown]
    failed = [r.title for r in results if r.verdict == "fail"]
    known = {
        40: f"Failed audits: {'; '.join(failed) or 'none'}.",
        30: "; ".join(f"{r.title}: {r.verdict}" for r in results if r.verdict != "not assessable")
        + ".",
    }
    for result in results:
        if result.name == "support":
            known[21] = f"None was planned. {result.sentence}"
        if result.name == "heat_maps":
            known[31] = f"Heat maps. {result.sentence}"
    return known
