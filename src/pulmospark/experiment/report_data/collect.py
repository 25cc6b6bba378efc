"""The report's content, gathered from the outputs of the stages in the run's folder."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from pulmospark.chunks.parts import parts_of
from pulmospark.config.experiment import Experiment
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import now_utc, provenance
from pulmospark.data.cohort.split_summary import SplitResult, grouping_sentences, read_split
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.ingest.ingest import IngestResult, read_ingest
from pulmospark.evaluation.results import Evaluation
from pulmospark.experiment.audit import old_audits, shown_audits
from pulmospark.experiment.evaluate import known_patients, other_evaluation, read_evaluation
from pulmospark.experiment.example_images import right_and_wrong
from pulmospark.experiment.report_data.augmentation import augmentations
from pulmospark.experiment.report_data.claim import claim_of
from pulmospark.experiment.run_folder import RunFolder, read_seconds
from pulmospark.models.zoo import networks
from pulmospark.report import content as page
from pulmospark.report.paper_content import BesidePaper
from pulmospark.training.param_groups import trained_parameters
from pulmospark.training.recipe import network_settings
from pulmospark.training.results import TrainResult, regression_method
from pulmospark.training.train import read_training

_PARTS = ("train", "validation", "test")
_EXAMPLES = 5
_OPTIMISERS = {"adamw": "AdamW", "adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
_TRAINABLE = {
    "all": "the CNN itself",
    "head": "the CNN's last layer",
    "1": "the CNN's last stage and its last layer",
}
_STAGES = "the CNN's last {} stages and its last layer"

_POOLINGS = {
    "mean": "mean",
    "top_k": "mean of the {count} largest of each class",
    "noisy_or": "noisy-or",
    "attention": "attention trained on the validation part",
}


def report_content(experiment: Experiment, run: RunFolder) -> page.ReportContent:
    """Everything the report shows.

    Args:
        experiment: the settings.
        run: folder of the run, with the output of every stage.

    Raises:
        InputError: a stage is missing, or model and metrics are not of this split.
    """
    ingested, parted = read_ingest(run.tables), read_split(run.cohort)
    if (why := other_evaluation(run)) is not None:
        raise InputError(why)
    trained, evaluated = read_training(run.training), read_evaluation(run.evaluation)
    images = pq.read_table(run.evaluation / "predictions", columns=["patient_id"])
    patients, unknown = known_patients(images)
    old = old_audits(run)
    right, wrong = right_and_wrong(run, trained.classes)
    settings = experiment.model_dump(mode="json")
    return page.ReportContent(
        title=experiment.name,
        made_at=now_utc(),
        is_phantom=experiment.phantoms,
        audits=shown_audits(run),
        evaluation=evaluated.evaluation,
        paper=_paper(run, evaluated.evaluation),
        cross_validation=evaluated.cross_validation,
        levels=tuple(
            page.Level(
                unit=level.level,
                pooling=_POOLINGS[level.pooling].format(count=experiment.evaluate.top_k),
                evaluation=level.evaluation,
            )
            for level in evaluated.levels
        ),
        images_without_patient=unknown,
        known_patients=patients,
        sources=_sources(ingested, run),
        rejects=_rejects(run, ingested),
        exclusions=tuple(
            page.Exclusion(reason=group.reason, count=group.images, source=group.source)
            for group in parted.exclusions
        ),
        classes=_classes(run, parted),
        split=_split(read_cohort(run.cohort), parted),
        warnings=(*parted.warnings, *trained.warnings, *(() if old is None else (old,))),
        training=_training(experiment, run, trained),
        timings=tuple(
            page.Timing(stage=stage, seconds=seconds)
            for stage, seconds in read_seconds(run).items()
        ),
        claim=claim_of(experiment, run),
        right=right,
        wrong=wrong,
        figures_folder=run.figures.name,
        provenance={
            **provenance(settings, seed=experiment.seed),
            "model_id": evaluated.model_id,
            "cohort_id": parted.cohort_id,
            "commands": [f"pulmospark run {shlex.quote(str(run.place))}"],
        },
    )


def _paper(run: RunFolder, evaluation: Evaluation) -> BesidePaper | None:
    """What `reproduce` wrote, unless the run has been evaluated again since."""
    if not run.paper.is_file():
        return None
    paper = BesidePaper.model_validate_json(run.paper.read_bytes())
    still = any(row.accuracy == evaluation.accuracy.value for row in paper.figures)
    return paper if still else None


def _sources(ingested: IngestResult, run: RunFolder) -> tuple[page.SourceSummary, ...]:
    """Content of each source; images and rejects are counted in their tables."""
    images, frames, rejects = Counter[str](), Counter[str](), Counter[str]()
    for part in parts_of(run.tables / "images"):
        rows = pq.read_table(part, columns=["source", "frame"])
        images.update(rows["source"].to_pylist())
        # In a file with one frame the column is null, which the filter drops.
        frames.update(rows.filter(pc.greater(rows["frame"], 1))["source"].to_pylist())
    for part in parts_of(run.tables / "rejects"):
        rejects.update(pq.read_table(part, columns=["source"])["source"].to_pylist())
    return tuple(
        page.SourceSummary(
            name=source.name,
            layout=source.title,
            path=source.path,
            files_seen=source.files,
            images=images[source.name],
            frames=frames[source.name],
            rejects=rejects[source.name],
            notes=tuple(
                page.Count(
                    name=kind.replace("_", " "),
                    count=n,
                    examples=source.notes.examples.get(kind, ()),
                )
                for kind, n in source.notes.counts.items()
            ),
        )
        for source in ingested.sources
    )


def _rejects(run: RunFolder, ingested: IngestResult) -> tuple[page.RejectGroup, ...]:
    examples: dict[str, list[page.RejectExample]] = defaultdict(list)
    for part in parts_of(run.tables / "rejects"):
        rows = pq.read_table(part, columns=["uri", "reason", "detail"])
        for row in rows.to_pylist():
            if len(examples[row["reason"]]) < _EXAMPLES:
                name = Path(row["uri"]).name
                examples[row["reason"]].append(page.RejectExample(name=name, detail=row["detail"]))
    return tuple(
        page.RejectGroup(reason=reason, count=n, examples=tuple(examples[reason]))
        for reason, n in ingested.rejects_by_reason.items()
    )


def _classes(run: RunFolder, parted: SplitResult) -> tuple[page.ClassSummary, ...]:
    rows = pq.read_table(run.cohort / "table", columns=["label", "finding"])
    counts = rows.group_by(["label", "finding"]).aggregate([([], "count_all")]).to_pylist()
    return tuple(
        page.ClassSummary(
            name=name,
            findings=tuple(
                page.Count(name=row["finding"], count=row["count_all"])
                for row in sorted(counts, key=lambda row: -row["count_all"])
                if row["label"] == name
            ),
        )
        for name in parted.classes
    )


def _split(rows: pa.Table, parted: SplitResult) -> page.SplitSummary:
    """Images and known patients of each split, counted in a cohort's included rows.

    Not summed from smaller cells: a patient with images of two classes is one patient.
    """
    folds, names = rows["fold"].to_pylist(), rows["split"].to_pylist()
    part_names = [n if f is None else f"fold {f + 1}" for f, n in zip(folds, names, strict=True)]
    rows = rows.append_column("part", pa.array(part_names, pa.string()))
    parts = sorted(set(part_names), key=_part_order)

    def cells(column: str, of: Sequence[str]) -> tuple[page.SplitCell, ...]:
        counts = _images_and_patients(rows, ["part", column])
        return tuple(
            page.SplitCell(part=part, name=name, images=images, patients=patients)
            for name in of
            for part in parts
            for images, patients in [counts.get((part, name), (0, None))]
        )

    totals = _images_and_patients(rows, ["part"])
    return page.SplitSummary(
        totals=tuple(
            page.SplitTotal(part=part, images=totals[part,][0], patients=totals[part,][1])
            for part in parts
        ),
        by_class=cells("label", parted.classes),
        by_source=cells("source", sorted(set(rows["source"].to_pylist()))),
        notes=grouping_sentences(parted),
    )


def _part_order(name: str) -> int:
    return _PARTS.index(name) if name in _PARTS else int(name.split()[1])


def _images_and_patients(
    rows: pa.Table, keys: list[str]
) -> dict[tuple[str, ...], tuple[int, int | None]]:
    """Images, and patients (``None`` if none is known), per value of some columns."""
    known = pc.CountOptions(mode="only_valid")
    counts = rows.group_by(keys).aggregate(
        [([], "count_all"), ("patient_id", "count_distinct", known)]
    )
    return {
        tuple(row[key] for key in keys): (
            row["count_all"],
            row["patient_id_count_distinct"] or None,
        )
        for row in counts.to_pylist()
    }


def _training(experiment: Experiment, run: RunFolder, trained: TrainResult) -> page.Training:
    known = networks.entry(trained.model)
    outputs = 1 if known.single_logit else len(trained.classes)
    settings = experiment.train
    if trained.method == "features":
        method = (
            "deep features of the frozen network, extracted on Spark, and on them "
            f"{regression_method(trained, settings.logistic)}"
        )
        head = outputs * (known.width + 1)
    else:
        network = network_settings(settings)
        what = _TRAINABLE.get(str(network.trainable), _STAGES).format(network.trainable)
        method = (
            f"{what}, through Spark's TorchDistributor ({_OPTIMISERS[network.optimiser]}, up to "
            f"{network.epochs} epochs, batch size {network.batch_size}, learning rate "
            f"{network.learning_rate:g})"
        )
        with torch.device("meta"):  # to count only: allocates no weights
            empty = networks.build(trained.model, len(trained.classes))
        head = trained_parameters(empty, network)
    return page.Training(
        method=method,
        model=known.title,
        weights=trained.weights["file"] if trained.weights else None,
        parameters=trained.parameters,
        trained_parameters=head,
        processes=settings.processes if trained.method == "network" else None,
        preparation="histogram equalised" if experiment.ingest.equalise else None,
        augmentations=augmentations(experiment, run),
        runs=tuple(
            page.TrainingRun(
                name=record.name,
                epochs=tuple(
                    page.Epoch(
                        epoch=epoch["epoch"],
                        loss=epoch["loss"],
                        validation_loss=epoch["validation_loss"],
                        accuracy=epoch["validation_accuracy"],
                        seconds=epoch["seconds"],
                        images_per_s=epoch["images_per_s"],
                    )
                    for epoch in record.history
                ),
                objective=record.objective,
            )
            for record in trained.models
        ),
    )
