"""Results of the stages, printed for the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pulmospark
from pulmospark.cli.common import count, say, say_heading, warn
from pulmospark.cli.table_output import Cell, say_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulmospark.audit.results import AuditReport, Verdict
    from pulmospark.data.cohort.split_summary import SplitResult
    from pulmospark.data.expand.table import ExpandResult
    from pulmospark.data.ingest.ingest import IngestResult
    from pulmospark.experiment.evaluate import EvaluateResult, LevelResult
    from pulmospark.experiment.run_result import RunResult
    from pulmospark.layouts.base import NotesSummary
    from pulmospark.training.results import ModelRecord, TrainResult

_EXCLUSIONS_SHOWN = 8
# Notes on single rows and files, which a count alone does not explain.
_SHOWN_BY_EXAMPLE = (
    "rows_matched_by_name",
    "rows_matched_by_stem",
    "rows_matched_without_case",
    "rows_of_several_files",
    "rows_without_file",
    "files_in_other_folders",
)
_VERDICTS: tuple[tuple[Verdict, str], ...] = (
    ("fail", "failed"),
    ("warn", "warn"),
    ("not assessable", "not assessable"),
    ("pass", "passed"),
)

_SINGULAR = {
    **{
        f"{noun}s": noun
        for noun in (
            *("age", "file", "finding", "folder", "gap", "image", "mask", "name", "patient"),
            *("row", "scan", "slice", "symlink", "twin", "view"),
        )
    },
    "copies": "copy",
    "entries": "entry",
}
"""nouns of the kinds of notes"""


def oddities(notes: NotesSummary) -> str:
    """A listing's notes with their counts, in one line; empty if there are none."""
    return ", ".join(f"{n:,} {_noted(kind, n)}" for kind, n in notes.counts.items())


def _noted(kind: str, count: int) -> str:
    """A kind of note as words, in the singular for one: ``ignored_files`` -> "ignored file"."""
    words = kind.split("_")
    if count == 1:
        plural = next((place for place, word in enumerate(words) if word in _SINGULAR), None)
        if plural is not None:
            words[plural] = _SINGULAR[words[plural]]
    return " ".join(words)


def listing_notes(notes: NotesSummary) -> Iterator[str]:
    """Yield a listing's columns, matched rows and ignored files, one line each."""
    for title, is_guessed in (("columns guessed", True), ("columns as specified", False)):
        pairs = (
            f"{what} = {name}" for what, (name, g) in notes.columns.items() if g == is_guessed
        )
        if columns := ", ".join(pairs):
            hint = "; override with --option <what>_column=NAME" if is_guessed else ""
            yield f"{title}: {columns}{hint}"
    for kind in _SHOWN_BY_EXAMPLE:
        if n := notes.counts.get(kind, 0):
            examples = "; ".join(notes.examples[kind][:2])
            yield f"{kind.replace('_', ' ')}: {n:,}, for example {examples}"
    if notes.ignored_extensions:
        yield f"ignored: {notes.ignored()}"


def say_ingest(result: IngestResult) -> None:
    """Print what was ingested from each source, and what was rejected."""
    for listing in result.sources:
        odd = oddities(listing.notes)
        say(
            f'{listing.name}: layout "{listing.title}", {count(listing.files, "file")}'
            f"{f' ({odd})' if odd else ''}"
        )
        for text in listing_notes(listing.notes):
            say(f"  {text}")
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in result.rejects_by_reason.items())
    say(
        f"{count(result.files, 'file')}: {count(result.images, 'image')}, "
        f"{count(result.rejects, 'reject')}{f' ({reasons})' if reasons else ''}; "
        f"{result.already:,} already ingested"
    )
    if result.burned_in:
        warn(
            f"{count(result.burned_in, 'image')} with burned-in text, according to the header "
            "(column burned_in): it may identify a person, and a model may learn from it"
        )
    say(f"tables: {result.tables}")


def say_split(result: SplitResult, *, phantoms: bool = False) -> None:
    """Print the split, the exclusions, and how patients and copies were grouped."""
    from pulmospark.data.cohort.split_summary import grouping_sentences

    images: Counter[tuple[str, str]] = Counter()
    for share in result.shares:
        part = f"fold {share.fold + 1}" if share.fold is not None else share.split
        images[part, share.label] += share.images
    parts = dict.fromkeys(part for part, _ in images)
    say_table(
        (f"{image_noun(phantoms)}s", *result.classes),
        [(part, *(f"{images[part, name]:,}" for name in result.classes)) for part in parts],
        right=range(1, len(result.classes) + 1),
    )
    say(f"{count(result.images, image_noun(phantoms))} included, {result.excluded:,} excluded")
    for exclusion in sorted(result.exclusions, key=lambda e: -e.images)[:_EXCLUSIONS_SHOWN]:
        say(f"  excluded: {exclusion.images:,} of {exclusion.source}: {exclusion.reason}")
    if (more := len(result.exclusions) - _EXCLUSIONS_SHOWN) > 0:
        say(f"  and {more} more reasons: see the report, or --json")
    for text in grouping_sentences(result):
        say(text)
    for text in result.warnings:
        warn(text)


def say_expand(result: ExpandResult) -> None:
    """Print the originals and augmented copies of each class."""
    for expanded_class in result.classes:
        copies = expanded_class.copies
        say(
            f"{expanded_class.label}: {count(expanded_class.images, 'image')} and {copies:,} "
            f"augmented {'copy' if copies == 1 else 'copies'}, at most "
            f"{expanded_class.copies_per_image:,} per image"
        )
    unchanged = " (unchanged)" if result.already else ""
    say(f"{count(result.rows, 'row')}{unchanged}: {result.expanded}")
    for text in result.warnings:
        warn(text)


def say_train(result: TrainResult, *, phantoms: bool = False) -> None:
    """Print what was trained."""
    models = f" and {count(result.folds, 'fold')}" if result.folds else ""
    final = result.models[-1]
    images = count(final.images, image_noun(phantoms))
    say(
        f"{result.model} ({result.parameters:,} parameters), {images}: final "
        f"model{models} trained; temperature {final.temperature:.3f}"
    )
    if final.reg_param is not None:
        in_folds = ", ".join(
            f"{model.reg_param:g}" for model in result.models[:-1] if model.reg_param
        )
        say(
            f"regularisation (regParam): {final.reg_param:g}"
            f"{f'; folds {in_folds}' if in_folds else ''}"
        )
    say_point(final)
    for text in result.warnings:
        warn(text)
    say(f"bundle: {result.bundle}")


def say_point(model: ModelRecord) -> None:
    """Print an operating point, what it was chosen on, and the sensitivity to expect."""
    point = model.operating_point
    if not point.reached or point.positives is None:
        return
    span = ""
    if point.expected_low is not None and point.expected_high is not None:
        span = (
            f"; expected sensitivity on new patients {point.expected_low:.3f} to "
            f"{point.expected_high:.3f}"
        )
    scores = "out-of-fold scores" if model.calibrated_by == "out-of-fold" else "the validation set"
    say(
        f"operating point for {point.positive_class}: threshold {point.threshold:.4f} for a "
        f"sensitivity of {point.sensitivity_target:g}, chosen on {scores} of "
        f"{point.chosen_on:,} images, {point.positives:,} positive{span}"
    )


def say_evaluate(result: EvaluateResult, *, phantoms: bool = False) -> None:
    """The main metrics with CIs, and those of the image-blind baselines."""
    from pulmospark.evaluation import registry

    evaluation, baselines = result.evaluation, result.evaluation.trivial
    tested = _tested(result, phantoms=phantoms)
    say_heading(f"test set: {tested} ({evaluation.confidence:.0%} CI in parentheses)")
    rows = [(m.words, m.of(evaluation).text()) for m in registry.overall("terminal")]
    if baselines:
        rule = baselines.most_frequent_class_of_source.text()
        if not baselines.source_assessable:
            rule = "not assessable: all test images come from one source"
        rows += [
            ("image-blind baseline: most frequent class", baselines.most_frequent_class.text()),
            ("image-blind baseline: most frequent class of each source", rule),
        ]
    say_table(("", ""), rows)
    of_class = registry.of_class("terminal")
    say_table(
        ("class", *(metric.words for metric in of_class)),
        [
            (row.name, *(metric.of(row).text() for metric in of_class))
            for row in evaluation.by_class
        ],
    )
    for level in result.levels:
        say_level(level, result)


def _tested(result: EvaluateResult, *, phantoms: bool) -> str:
    """ "118 images of 64 patients"."""
    from pulmospark.report.phrasing import groups_of

    evaluation, unknown = result.evaluation, result.images_without_patient or 0
    images = count(evaluation.images, image_noun(phantoms))
    if unknown >= evaluation.images:
        return f"{images} of unknown patients"
    groups = groups_of(
        evaluation,
        unknown,
        known=result.patients,
        patient=patient_noun(phantoms),
        image=image_noun(phantoms),
    )
    return f"{images} of {groups}"


def say_level(result: LevelResult, images: EvaluateResult) -> None:
    """Print the main metrics per scan or patient."""
    from pulmospark.evaluation import registry
    from pulmospark.report.phrasing import units_of

    evaluation = result.evaluation
    groups = units_of(evaluation, images.images_without_patient or 0, known=images.patients)
    say(
        f"per {result.level} (pooled by {result.pooling}): "
        f"{count(evaluation.images, result.level)} of {groups}"
    )
    rows = [(m.words, m.of(evaluation).text()) for m in registry.overall("terminal")]
    if baselines := evaluation.trivial:
        rule = baselines.most_frequent_class_of_source.text()
        if not baselines.source_assessable:
            rule = "not assessable: one source"
        rows.append(("image-blind baseline: most frequent class of each source", rule))
    say_table(("", ""), rows)


def say_audit(result: AuditReport, *, phantoms: bool = False) -> None:
    """Print the verdicts, worst first; failures and warnings with findings and remedy."""
    from pulmospark.report.phantom_wording import phantom_words

    phrased = phantom_words if phantoms else str
    totals = Counter(audit.verdict for audit in result.audits)
    summary = ", ".join(
        f"{totals[verdict]} {word}" for verdict, word in _VERDICTS if totals[verdict]
    )
    say_heading(f"audits of {count(result.images, image_noun(phantoms))}: {summary}")
    rows: list[tuple[Cell, str, str]] = []
    for audit in result.audits:
        if audit.verdict in {"fail", "warn"}:
            tag = (audit.verdict.upper(), "red" if audit.verdict == "fail" else "yellow")
            rows.append((tag, phrased(audit.title), phrased(audit.sentence)))
            if audit.remedy:
                rows.append(("", "", phrased(f"remedy: {audit.remedy}")))
    for word, colour in (("not assessable", ""), ("pass", "green")):
        names = ", ".join(audit.title for audit in result.audits if audit.verdict == word)
        if names:
            rows.append(((word, colour), "", phrased(names)))
    say_table(("", "", ""), rows)
    if result.skipped:
        say(f"  skipped by the settings: {', '.join(result.skipped)}")


def say_run(result: RunResult, *, phantoms: bool = False) -> None:
    """Print all stages of a run, ending with the path of the report."""
    say_heading("images")
    say_ingest(result.ingest)
    say_heading("split")
    say_split(result.split, phantoms=phantoms)
    if result.expand is not None:
        say_expand(result.expand)
    say_heading("model")
    say_train(result.train, phantoms=phantoms)
    if result.audit is not None:
        say_audit(result.audit, phantoms=phantoms)
    say_evaluate(result.evaluate, phantoms=phantoms)
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say("")
    say(f"completed in {result.seconds:.0f} s (excluding Spark start-up)")
    say(f"report: {result.report}", "bold")


def image_noun(phantoms: bool) -> str:
    """What an image of a run is called."""
    return "phantom" if phantoms else "image"


def patient_noun(phantoms: bool) -> str:
    """What a patient of a run is called."""
    return "synthetic patient" if phantoms else "patient"
