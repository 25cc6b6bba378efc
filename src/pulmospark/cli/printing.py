"""Results of the stages, printed for the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pulmospark
from pulmospark.cli.common import count, say, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulmospark.audit.results import AuditReport, Verdict
    from pulmospark.data.cohort.split_summary import SplitResult
    from pulmospark.data.expand.table import ExpandResult
    from pulmospark.data.ingest.ingest import IngestResult
    from pulmospark.evaluation.results import Figure
    from pulmospark.experiment.evaluate import EvaluateResult, LevelResult
    from pulmospark.experiment.external import ExternalResult
    from pulmospark.experiment.papers.leak import LeakyArm
    from pulmospark.experiment.papers.reproduce import Reproduction
    from pulmospark.experiment.run_result import RunResult
    from pulmospark.layouts.base import NotesSummary
    from pulmospark.report.comparison_content import Comparison, ModelPair
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


def oddities(notes: NotesSummary) -> str:
    """A listing's notes with their counts, in one line; empty if there are none."""
    return ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in notes.counts.items())


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
    for part in dict.fromkeys(part for part, _ in images):
        class_counts = ", ".join(f"{images[part, name]:,} {name}" for name in result.classes)
        say(f"{part}: {class_counts}")
    say(f"{count(result.images, _image(phantoms))} included, {result.excluded:,} excluded")
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
        copies = expanded_class.children
        say(
            f"{expanded_class.label}: {count(expanded_class.images, 'image')} and {copies:,} "
            f"augmented {'copy' if copies == 1 else 'copies'}, at most "
            f"{expanded_class.children_of_a_image:,} per image"
        )
    unchanged = " (unchanged)" if result.already else ""
    say(f"{count(result.rows, 'row')}{unchanged}: {result.expanded}")
    for text in result.warnings:
        warn(text)


def say_train(result: TrainResult, *, phantoms: bool = False) -> None:
    """Print what was trained."""
    models = f" and {count(result.folds, 'fold')}" if result.folds else ""
    final = result.models[-1]
    images = count(final.images, _image(phantoms))
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
    say(f"test set: {tested} ({evaluation.confidence:.0%} CI in parentheses)")
    for metric in registry.overall("terminal"):
        say(f"  {metric.words:20}{metric.of(evaluation).text()}")
    if baselines:
        say("image-blind baselines:")
        say(f"  most frequent class                 {baselines.most_frequent_class.text()}")
        rule = baselines.most_frequent_class_of_source.text()
        if not baselines.source_assessable:
            rule = "not assessable: all test images come from one source"
        say(f"  most frequent class of each source  {rule}")
    for row in evaluation.by_class:
        of_class = (f"{m.words} {m.of(row).text()}" for m in registry.of_class("terminal"))
        say(f"  {row.name}: {', '.join(of_class)}")
    for level in result.levels:
        say_level(level, result)


def _tested(result: EvaluateResult, *, phantoms: bool) -> str:
    """ "118 images of 64 patients"."""
    from pulmospark.report.phrasing import groups_of

    evaluation, unknown = result.evaluation, result.images_without_patient or 0
    images = count(evaluation.images, _image(phantoms))
    if unknown >= evaluation.images:
        return f"{images} of unknown patients"
    groups = groups_of(
        evaluation,
        unknown,
        known=result.patients,
        patient=_patient(phantoms),
        image=_image(phantoms),
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
    for metric in registry.overall("terminal"):
        say(f"  {metric.words:20}{metric.of(evaluation).text()}")
    if baselines := evaluation.trivial:
        rule = baselines.most_frequent_class_of_source.text()
        if not baselines.source_assessable:
            rule = "not assessable: one source"
        say(f"  majority class of each source (baseline)      {rule}")


def say_external(result: ExternalResult) -> None:
    """Print internal and external performance side by side, and after a recalibration."""
    from pulmospark.evaluation import registry
    from pulmospark.experiment.external import copies_sentence
    from pulmospark.report.external import verdict

    columns = [
        ("internal", result.inside),
        ("external", result.outside),
        ("recalibrated", result.recalibrated),
    ]
    evaluated = [(name, evaluation) for name, evaluation in columns if evaluation is not None]
    say(f"{'':22}" + "".join(f"{name:26}" for name, _ in evaluated))
    say(
        f"{'images (patients)':22}"
        + "".join(f"{f'{side.images:,} ({side.groups:,})':26}" for _, side in evaluated)
    )
    for metric in registry.overall("external"):
        columns_text = "".join(f"{metric.of(side).text():26}" for _, side in evaluated)
        say(f"{metric.words:22}{columns_text}")
    if result.by_class:
        say("sensitivity of each class:")
        for change in result.by_class:
            say(
                f"  {change.name}: internal {change.inside.text()}, external "
                f"{change.outside.text()}; difference {change.change.text('+.3f')}: "
                f"{change.finding}"
            )
        if any(change.finding == "not assessable" for change in result.by_class):
            say("  the sets have different classes: the metrics above are not comparable")
    overall = verdict(result.inside, result.outside)
    say(f"{overall.tag}. {overall.sentence}")
    say(copies_sentence(result.training_copies, result.outside.images))
    for reason, images in result.left_out.items():
        say(f"  excluded: {images:,}: {reason}")
    if result.recalibration is not None:
        offsets = ", ".join(f"{offset:+.2f}" for offset in result.recalibration.offsets)
        say(
            f"recalibrated on {count(result.recalibration.images, 'image')}: temperature "
            f"{result.recalibration.temperature:.3f}, offsets {offsets}"
        )
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"external: {result.folder / 'external.html'}")


def say_audit(result: AuditReport, *, phantoms: bool = False) -> None:
    """Print the verdicts, worst first; failures and warnings with findings and remedy."""
    from pulmospark.report.phantom_wording import phantom_words

    phrased = phantom_words if phantoms else str
    totals = Counter(audit.verdict for audit in result.audits)
    summary = ", ".join(
        f"{totals[verdict]} {word}" for verdict, word in _VERDICTS if totals[verdict]
    )
    say(f"audits of {count(result.images, _image(phantoms))}: {summary}")
    for audit in result.audits:
        if audit.verdict in {"fail", "warn"}:
            say(phrased(f"  {audit.verdict.upper()}  {audit.title}: {audit.sentence}"))
            if audit.remedy:
                say(phrased(f"        remedy: {audit.remedy}"))
    for word in ("not assessable", "pass"):
        names = ", ".join(audit.title for audit in result.audits if audit.verdict == word)
        if names:
            say(phrased(f"  {word}  {names}"))
    if result.skipped:
        say(f"  skipped by the settings: {', '.join(result.skipped)}")


def say_run(result: RunResult, *, phantoms: bool = False) -> None:
    """Print all stages of a run, ending with the path of the report."""
    say_ingest(result.ingest)
    say_split(result.split, phantoms=phantoms)
    if result.expand is not None:
        say_expand(result.expand)
    say_train(result.train, phantoms=phantoms)
    if result.audit is not None:
        say_audit(result.audit, phantoms=phantoms)
    say_evaluate(result.evaluate, phantoms=phantoms)
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"completed in {result.seconds:.0f} s (excluding Spark start-up)")
    say(f"report: {result.report}")


def say_comparison(result: Comparison) -> None:
    """Print the arms side by side, then pair by pair, ending with the path of the page."""
    width = max(24, *(len(model.name) + 4 for model in result.models))
    say(
        f"{'network':{width}}{'accuracy':26}{'training':>10}{'parameters':>13}{'bundle':>10}"
        f"{'images/s':>9}"
    )
    for model in result.models:
        star = "* " if model.frontier else "  "
        seconds = f"{model.training_seconds:>8.0f} s"
        say(
            f"{star}{model.name:{width - 2}}{model.accuracy.text():26}{seconds}"
            f"{model.parameters:>13,}{model.bundle_bytes / 1e6:>7.1f} MB{model.images_per_s:>9.0f}"
        )
    say("* on the Pareto frontier of accuracy and training time")
    for text in result.notes:
        warn(text)
    patients = count(result.groups, _patient(result.phantoms))
    say(f"differences in accuracy on the same {patients}, percentage points:")
    for pair in result.pairs:
        say(f"  {_pair(pair, result.confidence)}")
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"comparison: {result.folder / 'comparison.html'}")


def _pair(pair: ModelPair, confidence: float) -> str:
    """ "a minus b: +2.10 (+0.90 to +3.40), p = 0.001: statistically significant"."""
    difference = pair.compared.difference
    span = ""
    if difference.low is not None and difference.high is not None:
        span = f" ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    is_significant = pair.adjusted_p < 1 - confidence
    return (
        f"{pair.first} minus {pair.second}: {100 * (difference.value or 0.0):+.2f}{span}, "
        f"p = {pair.adjusted_p:.3f}: {'' if is_significant else 'not '}statistically significant"
    )


def say_reproduction(result: Reproduction) -> None:
    """Print the paper's result, ours, and the known differences between the two."""
    of = span = ""
    if result.published_right is not None:
        of = f" = {result.published_right} of {result.published_images}"
    if result.published_low is not None and result.published_high is not None:
        span = f" ({result.published_low:.3f} to {result.published_high:.3f}, if independent)"
    say(f"{result.preset}: {result.source}")
    say(f"  published  {result.published:.4f}{of}{span}")
    if result.leak is not None:
        say("  split before augmenting, so that no image is on both sides:")
    ours = result.accuracy
    say(f"  ours       {ours.text()} = {ours.numerator} of {ours.denominator}")
    say(f"  balanced   {result.balanced_accuracy.text()}")
    worth = "" if ours.effective is None else f", worth {ours.effective:.0f} independent images"
    groups = "synthetic patients" if result.phantoms else "patients (images if unknown)"
    say(f"  {result.confidence:.0%} CIs over {result.groups:,} {groups}{worth}")
    if result.leak is not None:
        _say_leak(result, result.leak)
    noun = _image(result.phantoms)
    say(f"  parameters {result.parameters:,}; trained on {count(result.trained_images, noun)}")
    for part, images in result.images.items():
        say(f"  {part}: " + ", ".join(f"{n:,} {name}" for name, n in images.items()))
    for text in result.smaller:
        say(f"  smaller than the paper's: {text}")
    for text in result.guessed:
        say(f"  guessed: {text}")
    for text in result.warnings:
        warn(text)
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"report: {result.report}")


def _say_leak(result: Reproduction, leak: LeakyArm) -> None:
    """Print the arm with the leak, without a CI, which would be meaningless."""
    from pulmospark.experiment.papers.paper_comparison import points_between

    accuracy = leak.accuracy
    say("  split after augmenting, as in the paper: a LEAK, not a result:")
    say(f"  leak       {_plain(accuracy)} = {accuracy.numerator} of {accuracy.denominator} rows")
    say(f"  balanced   {_plain(leak.balanced_accuracy)}")
    originals = leak.on_images
    say(
        f"  of these, on original {_image(result.phantoms)}s: {_plain(originals)} = "
        f"{originals.numerator} of {originals.denominator}"
    )
    say(f"  no CI: {leak.why}")
    if (difference := points_between(result, leak)) is not None:
        say(f"  leak minus ours: {difference}")


def _plain(figure: Figure) -> str:
    return "not defined" if figure.value is None else f"{figure.value:.3f}"


def _image(phantoms: bool) -> str:
    return "phantom" if phantoms else "image"


def _patient(phantoms: bool) -> str:
    return "synthetic patient" if phantoms else "patient"
