"""Results that compare two or more evaluations, printed for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulmospark
from pulmospark.cli.common import count, say, warn
from pulmospark.cli.printing import image_noun, patient_noun
from pulmospark.cli.table_output import say_table
from pulmospark.core.formatting import duration

if TYPE_CHECKING:
    from pulmospark.evaluation.results import Figure
    from pulmospark.experiment.external import ExternalResult
    from pulmospark.experiment.papers.leak import LeakyArm
    from pulmospark.experiment.papers.reproduce import Reproduction
    from pulmospark.report.comparison_content import Comparison, ModelPair


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
    rows = [
        ["images (patients)", *(f"{side.images:,} ({side.groups:,})" for _, side in evaluated)],
        *(
            [metric.words, *(metric.of(side).text() for _, side in evaluated)]
            for metric in registry.overall("external")
        ),
    ]
    say_table(["", *(name for name, _ in evaluated)], rows)
    if result.by_class:
        say_table(
            ("sensitivity", "internal", "external", "difference", ""),
            [
                (
                    change.name,
                    change.inside.text(),
                    change.outside.text(),
                    change.change.text("+.3f"),
                    change.finding,
                )
                for change in result.by_class
            ],
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
    say(f"external: {result.folder / 'external.html'}", "bold")


def say_comparison(result: Comparison) -> None:
    """Print the arms side by side, then pair by pair, ending with the path of the page."""
    say_table(
        ("network", "accuracy", "training", "parameters", "bundle", "images/s"),
        [
            (
                f"{'*' if model.frontier else ' '} {model.name}",
                model.accuracy.text(),
                duration(model.training_seconds),
                f"{model.parameters:,}",
                f"{model.bundle_bytes / 1e6:.1f} MB",
                f"{model.images_per_s:.0f}",
            )
            for model in result.models
        ],
        right=(2, 3, 4, 5),
    )
    say("* on the Pareto frontier of accuracy and training time")
    for text in result.notes:
        warn(text)
    patients = count(result.groups, patient_noun(result.phantoms))
    say(f"differences in accuracy on the same {patients}, percentage points:")
    say_table(
        ("pair", "difference", "p", ""), [_pair(pair, result.confidence) for pair in result.pairs]
    )
    say(pulmospark.NOT_A_MEDICAL_DEVICE)
    say(f"comparison: {result.folder / 'comparison.html'}", "bold")


def _pair(pair: ModelPair, confidence: float) -> tuple[str, str, str, str]:
    """A row, e.g. "a minus b", "+2.10 (+0.90 to +3.40)", "0.001", "statistically significant"."""
    difference = pair.compared.difference
    span = ""
    if difference.low is not None and difference.high is not None:
        span = f" ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    is_significant = pair.adjusted_p < 1 - confidence
    return (
        f"{pair.first} minus {pair.second}",
        f"{100 * (difference.value or 0.0):+.2f}{span}",
        f"{pair.adjusted_p:.3f}",
        f"{'' if is_significant else 'not '}statistically significant",
    )


def say_reproduction(result: Reproduction) -> None:
    """Print the paper's result, ours, and the known differences between the two."""
    of = span = ""
    if result.published_right is not None:
        of = f"{result.published_right} of {result.published_images}"
    if result.published_low is not None and result.published_high is not None:
        span = f" ({result.published_low:.3f} to {result.published_high:.3f}, if independent)"
    say(f"{result.preset}: {result.source}")
    ours = result.accuracy
    if result.leak is not None:
        say("split before augmenting, so that no image is on both sides:")
    say_table(
        ("accuracy", "", ""),
        [
            ("published", f"{result.published:.4f}{span}", of),
            ("ours", ours.text(), f"{ours.numerator} of {ours.denominator}"),
            ("ours, balanced", result.balanced_accuracy.text(), ""),
        ],
    )
    worth = "" if ours.effective is None else f", worth {ours.effective:.0f} independent images"
    groups = "synthetic patients" if result.phantoms else "patients (images if unknown)"
    say(f"  {result.confidence:.0%} CIs over {result.groups:,} {groups}{worth}")
    if result.leak is not None:
        _say_leak(result, result.leak)
    noun = image_noun(result.phantoms)
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
    say(f"report: {result.report}", "bold")


def _say_leak(result: Reproduction, leak: LeakyArm) -> None:
    """Print the arm with the leak, without a CI, which would be meaningless."""
    from pulmospark.experiment.papers.paper_comparison import points_between

    accuracy, originals = leak.accuracy, leak.on_images
    say("split after augmenting, as in the paper: a LEAK, not a result:")
    say_table(
        ("accuracy", "", ""),
        [
            ("leak", _plain(accuracy), f"{accuracy.numerator} of {accuracy.denominator} rows"),
            ("leak, balanced", _plain(leak.balanced_accuracy), ""),
            (
                f"leak, on original {image_noun(result.phantoms)}s",
                _plain(originals),
                f"{originals.numerator} of {originals.denominator}",
            ),
        ],
    )
    say(f"  no CI: {leak.why}")
    if (difference := points_between(result, leak)) is not None:
        say(f"  leak minus ours: {difference}")


def _plain(figure: Figure) -> str:
    return "not defined" if figure.value is None else f"{figure.value:.3f}"
