"""The model card: intended use, data, performance and limitations."""

from __future__ import annotations

from collections.abc import Iterable

import pulmospark
from pulmospark.config.base import Settings
from pulmospark.core import limits
from pulmospark.models.bundle.config import BundleConfig, BundleOperatingPoint
from pulmospark.models.zoo.catalogue import entry

_USE = (
    "Research on the classification of frontal chest X-rays, and comparison of methods. "
    "Not for diagnosis, triage or any other care of a person."
)
_LIMITATIONS = (
    "Not tested on hospitals, devices or patients other than those in the data above.",
    "In public data sets a class often comes from one hospital or age group: good performance may "
    "come from recognising the source, not the disease. Compare with the image-blind baselines "
    "in the report.",
    "Probabilities are calibrated for data like the training data; they do not transfer to "
    "another prevalence.",
)


class CardFigure(Settings):
    """A metric or fact as text."""

    name: str
    value: str
    """with its unit and CI: ``0.91 (0.88 to 0.94)``"""


class CardFacts(Settings):
    """Contents of the card beyond the bundle's configuration."""

    name: str
    """of the experiment"""
    data: tuple[CardFigure, ...] = ()
    """training and test data: images, patients, sources, exclusions"""
    figures: tuple[CardFigure, ...] = ()
    """performance on the test set"""
    limitations: tuple[str, ...] = ()
    """specific to this model, in addition to the general ones"""


def render_card(config: BundleConfig, facts: CardFacts) -> str:
    """The card as Markdown, with a metadata header for model hubs."""
    known = entry(config.model)
    return "\n".join(
        (
            *("---", "library_name: pulmospark", "pipeline_tag: image-classification"),
            *("tags:", "- chest-x-ray", "- radiology", f"- {known.name}", "---", ""),
            f"# {_plain(facts.name)}: {known.title}",
            "",
            f"> {pulmospark.NOT_A_MEDICAL_DEVICE}",
            "",
            *_section("Intended use", [_USE, ""]),
            *_section("Model", _table(_model_rows(config))),
            *_section("Data", _table((row.name, row.value) for row in facts.data)),
            *_section("Performance", _table((row.name, row.value) for row in facts.figures)),
            *_section("Unsuitable images", _caution_lines(config)),
            *_section("Operating points", _table(_point_rows(config))),
            *_section(
                "Limitations",
                [f"- {_plain(text)}" for text in (*facts.limitations, *_LIMITATIONS)] + [""],
            ),
            *_section("Use", ["```", "pulmospark predict BUNDLE IMAGE... --out DIR", "```", ""]),
        )
    )


def _model_rows(config: BundleConfig) -> list[tuple[str, str]]:
    known = entry(config.model)
    start = config.weights or "random (trained from scratch)"
    how = {
        "features": "logistic regression on deep features of the frozen network",
        "network": "fine-tuning of the network",
    }
    return [
        ("Architecture", f"{known.title} ({known.source})"),
        ("Classes, in the order of the output", ", ".join(config.classes)),
        (
            "Input",
            f"{config.input_size} x {config.input_size} grey levels, fit: {config.fit}"
            f"{', histogram equalised' if config.equalise else ''}",
        ),
        ("Training", how[config.method]),
        ("Initial weights", start),
        ("Temperature of the softmax", f"{config.temperature:.4g}"),
        ("Created", str(config.training.get("made_at", "unknown"))),
        ("pulmospark", str(config.training.get("pulmospark", "unknown"))),
    ]


def _caution_lines(config: BundleConfig) -> list[str]:
    """Handling of images unlike the training images."""
    facts = config.distance
    lines = []
    if config.phantoms:
        lines.append(
            "- Trained on phantoms, which a program draws: its predictions are meaningless for "
            "real patients. It refuses other images unless `--allow-phantom-model` is given."
        )
    if config.body_parts == "chest":
        lines.append(
            "- DICOM images whose header names a body part other than the chest are "
            "refused unless `--any-body-part` is given."
        )
    if facts is None:
        lines.append(
            "- Out-of-distribution images are not detected: the bundle has no feature statistics."
        )
    else:
        lines.append(
            f"- An image with a feature distance above {facts.fence:.4g} gets a caution; so do "
            f"{100 * (1 - facts.quantile):.3g} % of {facts.images:,} training images, "
            f"cross-validated by patient (Mahalanobis distance with {facts.rank} "
            "principal components; see `distance.safetensors`)."
        )
    return [*lines, ""]


def _point_rows(config: BundleConfig) -> list[tuple[str, str]]:
    return [(point.positive_class, _point_text(point)) for point in config.operating_points]


def _point_text(point: BundleOperatingPoint) -> str:
    text = (
        f"probability of at least {point.threshold:.4f}; chosen on {point.chosen_on} images "
        f"outside the test set, for a sensitivity of {point.sensitivity_target:.2f}"
    )
    if not point.reached:
        return f"{text}, which was not reached"
    if point.positives is not None:
        text += f"; {point.positives} of them of this class, of {point.positive_groups} patients"
        if point.positives < limits.OPERATING_POSITIVES_MIN:
            text += f" (fewer than {limits.OPERATING_POSITIVES_MIN}: a coarse choice)"
    if point.expected_low is not None and point.expected_high is not None:
        text += (
            f"; expected sensitivity on new patients: {point.expected_low:.2f} to "
            f"{point.expected_high:.2f}"
        )
    return text


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines] if lines else []


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    body = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return ["| | |", "|---|---|", *body, ""] if body else []


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line without tags: names come from data sets and are untrusted."""
    return " ".join(text.replace("<", "&lt;").split())
