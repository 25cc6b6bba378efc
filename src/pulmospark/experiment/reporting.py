"""What the report shows, gathered from what the stages left in the run's folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from pulmospark.core.provenance import now_utc, provenance
from pulmospark.core.settings import Experiment
from pulmospark.data.ingest import IngestResult, read_ingest
from pulmospark.data.split_summary import Share, SplitResult, read_split
from pulmospark.evaluation.results import Evaluation
from pulmospark.experiment.auditing import shown_audits
from pulmospark.experiment.augmentation import augmentations
from pulmospark.experiment.claim import claim_of
from pulmospark.experiment.evaluation import read_evaluation
from pulmospark.experiment.films import right_and_wrong
from pulmospark.experiment.folder import RunFolder, read_seconds
from pulmospark.layouts.manifest import SourceListing
from pulmospark.models import zoo
from pulmospark.report import content as page
from pulmospark.report.paper_content import BesidePaper
from pulmospark.spark.chunks import parts_of
from pulmospark.training.recipe import network_settings
from pulmospark.training.records import TrainResult
from pulmospark.training.stages import trained_parameters
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
        run: folder of the run, with the outcome of every stage.

    Raises:
        InputError: a stage is missing.
    """
    ingested, parted = read_ingest(run.tables), read_split(run.cohort)
    trained, evaluated = read_training(run.training), read_evaluation(run.evaluation)
    films = pq.read_table(run.evaluation / "predictions", columns=["patient_id"])
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
                unit=one.level,
                pooling=_POOLINGS[one.pooling].format(count=experiment.evaluate.top_k),
                evaluation=one.evaluation,
            )
            for one in evaluated.levels
        ),
        films_without_patient=films["patient_id"].null_count,
        sources=tuple(_source(listing, run) for listing in ingested.sources),
        rejects=_rejects(run, ingested),
        exclusions=tuple(
            page.Exclusion(reason=one.reason, count=one.films, source=one.source)
            for one in parted.exclusions
        ),
        classes=_classes(run, parted),
        split=_split(parted),
        warnings=parted.warnings,
        training=_training(experiment, run, trained),
        timings=tuple(
            page.Timing(stage=stage, seconds=seconds)
            for stage, seconds in read_seconds(run).items()
        ),
        claim=claim_of(experiment, run),
        right=right,
        wrong=wrong,
        provenance={
            **provenance(settings, seed=experiment.seed),
            "model_id": evaluated.model_id,
            "cohort_id": parted.cohort_id,
            "commands": [f"pulmospark run {run.settings.parent.name}"],
        },
    )


def _paper(run: RunFolder, evaluation: Evaluation) -> BesidePaper | None:
    """What `reproduce` left, unless the run was evaluated anew since then."""
    if not run.paper.is_file():
        return None
    paper = BesidePaper.model_validate_json(run.paper.read_bytes())
    still = any(one.accuracy == evaluation.accuracy.value for one in paper.figures)
    return paper if still else None


def _source(listing: SourceListing, run: RunFolder) -> page.SourceSummary:
    notes = listing.notes
    images = _count_where(run.tables / "images", listing.name)
    return page.SourceSummary(
        name=listing.name,
        layout=listing.title,
        path=listing.path,
        files_seen=listing.files,
        images=images,
        rejects=listing.files - images,
        notes=tuple(
            page.Count(name=kind.replace("_", " "), count=n, examples=notes.examples.get(kind, ()))
            for kind, n in notes.counts.items()
        ),
    )


def _count_where(table: Path, source: str) -> int:
    return sum(
        int(
            pc.sum(pc.equal(pq.read_table(part, columns=["source"])["source"], source)).as_py()
            or 0
        )
        for part in parts_of(table)
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


def _split(parted: SplitResult) -> page.SplitSummary:
    def part(share: Share) -> str:
        return f"fold {share.fold + 1}" if share.fold is not None else share.split

    def key(name: str) -> tuple[int, Any]:
        return (0, _PARTS.index(name)) if name in _PARTS else (1, int(name.split()[1]))

    parts = sorted({part(share) for share in parted.shares}, key=key)

    def cells(of: Any, names: Iterable[str]) -> tuple[page.SplitCell, ...]:
        return tuple(
            page.SplitCell(part=one, name=name, films=films, patients=patients)
            for name in names
            for one in parts
            for films, patients in [
                _sum(s for s in parted.shares if part(s) == one and of(s) == name)
            ]
        )

    return page.SplitSummary(
        totals=tuple(
            page.SplitTotal(part=one, films=films, patients=patients)
            for one in parts
            for films, patients in [_sum(s for s in parted.shares if part(s) == one)]
        ),
        by_class=cells(lambda share: share.label, parted.classes),
        by_source=cells(lambda share: share.source, sorted({s.source for s in parted.shares})),
    )


def _sum(shares: Iterable[Share]) -> tuple[int, int]:
    found = list(shares)
    return sum(s.films for s in found), sum(s.groups for s in found)


def _training(experiment: Experiment, run: RunFolder, trained: TrainResult) -> page.Training:
    known = zoo.entry(trained.model)
    outputs = 1 if known.single_logit else len(trained.classes)
    settings = experiment.train
    if trained.method == "features":
        logistic = settings.logistic
        method = (
            "deep features of the frozen network, extracted on Spark, and Spark MLlib's "
            f"multinomial logistic regression on them (maxIter {logistic.max_iter}, regParam "
            f"{logistic.reg_param:g}, elasticNetParam {logistic.elastic_net_param:g})"
        )
        head = outputs * (known.width + 1)
    else:
        network = network_settings(settings)
        what = _TRAINABLE.get(str(network.trainable), _STAGES).format(network.trainable)
        method = (
            f"{what}, through Spark's TorchDistributor ({_OPTIMISERS[network.optimiser]}, up to "
            f"{network.epochs} epochs, batches of {network.batch_size}, learning rate "
            f"{network.learning_rate:g})"
        )
        with torch.device("meta"):  # only counted: no weights are made
            empty = zoo.build(trained.model, len(trained.classes))
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
                        images_per_s=epoch["films_per_s"],
                    )
                    for epoch in record.history
                ),
                objective=record.objective,
            )
            for record in trained.models
        ),
    )
