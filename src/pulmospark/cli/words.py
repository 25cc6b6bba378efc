"""Results of the stages, as a person reads them on a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pulmospark
from pulmospark.cli.common import count, say, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulmospark.audit.results import AuditReport, Verdict
    from pulmospark.data.expanded import ExpandResult
    from pulmospark.data.ingest import IngestResult
    from pulmospark.data.split_summary import SplitResult
    from pulmospark.evaluation.results import Figure
    from pulmospark.experiment.evaluation import EvaluateResult, LevelResult
    from pulmospark.experiment.external import ExternalResult
    from pulmospark.experiment.leak import LeakyArm
    from pulmospark.experiment.reproduce import Reproduction
    from pulmospark.experiment.stages import RunResult
    from pulmospark.layouts.base import NotesSummary
    from pulmospark.report.comparison_content import Comparison, ModelPair
    from pulmospark.training.records import ModelRecord, TrainResult

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
    """What a listing found odd, in a line; empty where there is nothing."""
    return ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in notes.counts.items())


def listing_notes(notes: NotesSummary) -> Iterator[str]:
    """What a listing took columns for, how rows were matched, and what it ignored, a line each."""
    for title, is_guessed in (("columns guessed", True), ("columns as named", False)):
        each = (f"{what} = {name}" for what, (name, g) in notes.columns.items() if g == is_guessed)
        if taken := ", ".join(each):
            hint = "; --option <what>_column=NAME says otherwise" if is_guessed else ""
            yield f"{title}: {taken}{hint}"
    for kind in _SHOWN_BY_EXAMPLE:
        if n := notes.counts.get(kind, 0):
            yield f"{kind.replace('_', ' ')}: {n:,}, as {'; '.join(notes.examples[kind][:2])}"
    if notes.ignored_extensions:
        yield f"ignored: {notes.ignored()}"


def say_ingest(result: IngestResult) -> None:
    """What was ingested, from where, and what was rejected."""
    for listing in result.sources:
        odd = oddities(listing.notes)
        say(
            f"{listing.name}: laid out as {listing.title}, {count(listing.files, 'file')}"
            f"{f' ({odd})' if odd else ''}"
        )
        for text in listing_notes(listing.notes):
            say(f"  {text}")
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in result.rejects_by_reason.items())
    say(
        f"{count(result.files, 'file')}: {count(result.images, 'image')}, "
        f"{count(result.rejects, 'reject')}{f' ({reasons})' if reasons else ''}; "
        f"{result.already:,} were there already"
    )
    if result.burned_in:
        warn(
            f"{count(result.burned_in, 'image')} with letters burned into the pixels, as the "
            "header says (column burned_in): they may name a person, and a model may read them"
        )
    say(f"tables: {result.tables}")


def say_split(result: SplitResult, *, phantoms: bool = False) -> None:
    """Who is where, who was excluded, and what keeps patients and copies in one part."""
    from pulmospark.data.split_summary import grouping_sentences

    films: Counter[tuple[str, str]] = Counter()
    for share in result.shares:
        part = f"fold {share.fold + 1}" if share.fold is not None else share.split
        films[part, share.label] += share.films
    for part in dict.fromkeys(part for part, _ in films):
        each = ", ".join(f"{films[part, name]:,} {name}" for name in result.classes)
        say(f"{part}: {each}")
    say(f"{count(result.films, _film(phantoms))} take part, {result.excluded:,} are left out")
    for one in sorted(result.exclusions, key=lambda e: -e.films)[:_EXCLUSIONS_SHOWN]:
        say(f"  left out: {one.films:,} of {one.source}: {one.reason}")
    if (more := len(result.exclusions) - _EXCLUSIONS_SHOWN) > 0:
        say(f"  and {more} more reasons: see the report, or --json")
    for text in grouping_sentences(result):
        say(text)
    for text in result.warnings:
        warn(text)


def say_expand(result: ExpandResult) -> None:
    """What each class has now."""
    for one in result.classes:
        say(
            f"{one.label}: {count(one.films, 'film')} and {one.children:,} children, at most "
            f"{one.children_of_a_film:,} of one film"
        )
    there = ", as it was" if result.already else ""
    say(f"{count(result.rows, 'row')}{there}: {result.expanded}")
    for text in result.warnings:
        warn(text)


def say_train(result: TrainResult, *, phantoms: bool = False) -> None:
    """What was trained."""
    models = f" and {count(result.folds, 'fold')}" if result.folds else ""
    final = result.models[-1]
    films = count(final.films, _film(phantoms))
    say(
        f"{result.model} ({result.parameters:,} parameters), {films}: final "
        f"model{models} trained; temperature {final.temperature:.3f}"
    )
    if final.reg_param is not None:
        each = ", ".join(f"{one.reg_param:g}" for one in result.models[:-1] if one.reg_param)
        say(f"regularisation (regParam): {final.reg_param:g}{f'; folds {each}' if each else ''}")
    say_point(final)
    for text in result.warnings:
        warn(text)
    say(f"bundle: {result.bundle}")


def say_point(model: ModelRecord) -> None:
    """What an operating point was chosen on, and the sensitivity to expect of it."""
    point = model.operating_point
    if not point.reached or point.positives is None:
        return
    span = ""
    if point.expected_low is not None and point.expected_high is not None:
        span = (
            f"; sensitivity to expect on new patients {point.expected_low:.3f} to "
            f"{point.expected_high:.3f}"
        )
    scores = (
        "out-of-fold scores" if model.calibrated_by == "out-of-fold" else "the validation part"
    )
    say(
        f"operating point for {point.positive_class}: threshold {point.threshold:.4f} for a "
        f"sensitivity of {point.sensitivity_target:g}, chosen on {scores} of "
        f"{point.chosen_on:,} images, {point.positives:,} positive{span}"
    )


def say_evaluate(result: EvaluateResult, *, phantoms: bool = False) -> None:
    """The main figures, with intervals, beside the rules that look at no image."""
    told = result.evaluation
    say(f"tested on {_tested(result, phantoms=phantoms)}; intervals of {told.confidence:.0%}")
    say(f"  accuracy            {told.accuracy.text()}")
    say(f"  balanced accuracy   {told.balanced_accuracy.text()}")
    say(f"  AUROC (mean)        {told.macro_auroc.text()}")
    if told.trivial:
        say("beside rules that look at no image:")
        say(f"  most frequent class                 {told.trivial.most_frequent_class.text()}")
        rule = told.trivial.most_frequent_class_of_source.text()
        if not told.trivial.source_assessable:
            rule = "not assessable: the tested images are of one source"
        say(f"  most frequent class of each source  {rule}")
    for one in told.by_class:
        say(
            f"  {one.name}: sensitivity {one.sensitivity.text()}, "
            f"specificity {one.specificity.text()}"
        )
    for level in result.levels:
        say_level(level, result)


def _tested(result: EvaluateResult, *, phantoms: bool) -> str:
    """ "118 films of 64 patients not trained on"."""
    from pulmospark.report.words import groups_of

    told, unknown = result.evaluation, result.films_without_patient or 0
    films, never = count(told.films, _film(phantoms)), "not trained on"
    if unknown >= told.films:
        return f"{films} {never} (who the patients are is not known)"
    patient = "drawn patient" if phantoms else "patient"
    whose = groups_of(told, unknown, known=result.patients, patient=patient, film=_film(phantoms))
    return f"{films} of {whose} {never}"


def say_level(result: LevelResult, films: EvaluateResult) -> None:
    """The main figures of scans or patients, beside those of their films."""
    from pulmospark.report.words import units_of

    told = result.evaluation
    whose = units_of(told, films.films_without_patient or 0, known=films.patients)
    say(
        f"each {result.level} as a whole, by {result.pooling} of its parts: "
        f"{count(told.films, result.level)} of {whose}"
    )
    say(f"  accuracy            {told.accuracy.text()}")
    say(f"  AUROC (mean)        {told.macro_auroc.text()}")
    if told.trivial:
        rule = told.trivial.most_frequent_class_of_source.text()
        if not told.trivial.source_assessable:
            rule = "not assessable: one source"
        say(f"  beside the most frequent class of each source  {rule}")


def say_external(result: ExternalResult) -> None:
    """Figures from inside and from elsewhere side by side, and after a recalibration."""
    from pulmospark.experiment.external import copies_sentence
    from pulmospark.report.external import verdict

    columns = [("inside", result.inside), ("elsewhere", result.outside)]
    if result.recalibrated is not None:
        columns.append(("recalibrated", result.recalibrated))
    given = [(name, told) for name, told in columns if told is not None]
    say(f"{'':22}" + "".join(f"{name:26}" for name, _ in given))
    say(
        f"{'films (patients)':22}"
        + "".join(f"{f'{told.films:,} ({told.groups:,})':26}" for _, told in given)
    )
    for title, field in (
        ("accuracy", "accuracy"),
        ("balanced accuracy", "balanced_accuracy"),
        ("AUROC (mean)", "macro_auroc"),
        ("calibration error", "calibration_error"),
        ("log loss", "log_loss"),
    ):
        say(f"{title:22}" + "".join(f"{getattr(told, field).text():26}" for _, told in given))
    if result.by_class:
        say("sensitivity of each class:")
        for one in result.by_class:
            say(
                f"  {one.name}: inside {one.inside.text()}, elsewhere {one.outside.text()}; "
                f"difference {one.change.text('+.3f')}: {one.finding}"
            )
        if any(one.finding == "not assessable" for one in result.by_class):
            say("  the figures above it are of other classes than inside, and not comparable")
    found = verdict(result.inside, result.outside)
    say(f"{found.tag}. {found.sentence}")
    say(copies_sentence(result.training_copies, result.outside.films))
    for reason, films in result.left_out.items():
        say(f"  excluded: {films:,}: {reason}")
    if result.recalibration is not None:
        moved = ", ".join(f"{one:+.2f}" for one in result.recalibration.offsets)
        say(
            f"recalibrated on {count(result.recalibration.films, 'film')}: temperature "
            f"{result.recalibration.temperature:.3f}, offsets {moved}"
        )
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"external: {result.folder / 'external.html'}")


def say_audit(result: AuditReport, *, phantoms: bool = False) -> None:
    """Verdicts, worst first: those that failed or warn with what was found and a remedy."""
    from pulmospark.report.phantom import phantom_words

    spoken = phantom_words if phantoms else str
    found = Counter(audit.verdict for audit in result.audits)
    counts = ", ".join(f"{found[verdict]} {word}" for verdict, word in _VERDICTS if found[verdict])
    say(f"audits of {count(result.films, _film(phantoms))}: {counts}")
    for audit in result.audits:
        if audit.verdict in {"fail", "warn"}:
            say(spoken(f"  {audit.verdict.upper()}  {audit.title}: {audit.sentence}"))
            if audit.remedy:
                say(spoken(f"        remedy: {audit.remedy}"))
    for word in ("not assessable", "pass"):
        names = ", ".join(audit.title for audit in result.audits if audit.verdict == word)
        if names:
            say(spoken(f"  {word}  {names}"))
    if result.skipped:
        say(f"  left out by the settings: {', '.join(result.skipped)}")


def say_run(result: RunResult, *, phantoms: bool = False) -> None:
    """A whole run, ending in the path of the report."""
    say_ingest(result.ingest)
    say_split(result.split, phantoms=phantoms)
    if result.expand is not None:
        say_expand(result.expand)
    say_train(result.train, phantoms=phantoms)
    if result.audit is not None:
        say_audit(result.audit, phantoms=phantoms)
    say_evaluate(result.evaluate, phantoms=phantoms)
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"from files to report in {result.seconds:.0f} s")
    say(f"report: {result.report}")


def say_comparison(result: Comparison) -> None:
    """The arms side by side, then pair by pair, ending in the path of the page."""
    width = max(24, *(len(one.name) + 4 for one in result.models))
    say(
        f"{'network':{width}}{'accuracy':26}{'training':>10}{'parameters':>13}{'bundle':>10}"
        f"{'films/s':>9}"
    )
    for one in result.models:
        star = "* " if one.frontier else "  "
        say(
            f"{star}{one.name:{width - 2}}{one.accuracy.text():26}{one.training_seconds:>8.0f} s"
            f"{one.parameters:>13,}{one.bundle_bytes / 1e6:>7.1f} MB{one.films_per_s:>9.0f}"
        )
    say("* no other is as accurate in less training time")
    for text in result.notes:
        warn(text)
    patients = count(result.groups, "drawn patient" if result.phantoms else "patient")
    say(f"differences on the same {patients}, points of accuracy:")
    for pair in result.pairs:
        say(f"  {_pair(pair, result.confidence)}")
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"comparison: {result.folder / 'comparison.html'}")


def _pair(pair: ModelPair, confidence: float) -> str:
    """ "a less b: +2.1 (+0.9 to +3.4), p 0.001: more than chance would do"."""
    told = pair.compared.difference
    span = ""
    if told.low is not None and told.high is not None:
        span = f" ({100 * told.low:+.2f} to {100 * told.high:+.2f})"
    clear = pair.adjusted_p < 1 - confidence
    return (
        f"{pair.first} less {pair.second}: {100 * (told.value or 0.0):+.2f}{span}, "
        f"p {pair.adjusted_p:.3f}: {'more' if clear else 'no more'} than chance "
        f"{'would' if clear else 'could'} do"
    )


def say_reproduction(result: Reproduction) -> None:
    """The paper's figure, ours, and what stands between them."""
    of = span = ""
    if result.published_right is not None:
        of = f" = {result.published_right} of {result.published_films}"
    if result.published_low is not None and result.published_high is not None:
        span = (
            f" ({result.published_low:.3f} to {result.published_high:.3f}, were they independent)"
        )
    say(f"{result.preset}: {result.source}")
    say(f"  published  {result.published:.4f}{of}{span}")
    if result.leak is not None:
        say("  split before augmenting, so that no film is on both sides:")
    ours = result.accuracy
    say(f"  ours       {ours.text()} = {ours.numerator} of {ours.denominator}")
    say(f"  balanced   {result.balanced_accuracy.text()}")
    worth = "" if ours.effective is None else f", worth {ours.effective:.0f} independent films"
    patients = "drawn patients" if result.phantoms else "patients, or films where none is known"
    say(f"  intervals of {result.confidence:.0%}, over {result.groups:,} {patients}{worth}")
    if result.leak is not None:
        _say_leak(result, result.leak)
    noun = _film(result.phantoms)
    say(f"  parameters {result.parameters:,}; trained on {count(result.trained_films, noun)}")
    for part, films in result.films.items():
        say(f"  {part}: " + ", ".join(f"{n:,} {name}" for name, n in films.items()))
    for text in result.smaller:
        say(f"  smaller than the paper's: {text}")
    for text in result.guessed:
        say(f"  guessed: {text}")
    for text in result.warnings:
        warn(text)
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"report: {result.report}")


def _say_leak(result: Reproduction, leak: LeakyArm) -> None:
    """The other arm: no interval, for it would mean nothing."""
    from pulmospark.experiment.beside_paper import points_between

    told = leak.accuracy
    say("  split after augmenting, as the paper does: a LEAK, and no result:")
    say(f"  leak       {_plain(told)} = {told.numerator} of {told.denominator} rows")
    say(f"  balanced   {_plain(leak.balanced_accuracy)}")
    films = leak.on_films
    say(
        f"  of these, on {_film(result.phantoms)}s as they came: {_plain(films)} = "
        f"{films.numerator} of {films.denominator}"
    )
    say(f"  no interval: {leak.why}")
    if (between := points_between(result, leak)) is not None:
        say(f"  leak less ours: {between}")


def _plain(figure: Figure) -> str:
    return "not defined" if figure.value is None else f"{figure.value:.3f}"


def _film(phantoms: bool) -> str:
    return "phantom" if phantoms else "film"
