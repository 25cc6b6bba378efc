"""The model card: what a bundle is, for whom, made from what, and where it fails."""

from __future__ import annotations

from collections.abc import Iterable

import pulmospark
from pulmospark.core import limits
from pulmospark.core.settings import Settings
from pulmospark.models.bundle_config import BundleConfig, BundleOperatingPoint
from pulmospark.models.catalogue import entry

_USE = (
    "Research on the classification of frontal chest X-rays, and comparison of methods. "
    "Not for diagnosis, triage or any other care of a person."
)
_LIMITATIONS = (
    "It was not tested on films of hospitals, devices or patients other than those of the "
    "data above.",
    "Public sets of films often have one hospital or one age group in a class: a good figure "
    "may come from recognising the source and not the disease. Look at the trivial rules in "
    "the report.",
    "A probability is no more than the share of such films in data like those it was made "
    "from; with another prevalence it is another.",
)


class CardFigure(Settings):
    """A figure as a person reads it."""

    name: str
    value: str
    """with its unit and its interval: ``0.91 (0.88 to 0.94)``"""


class CardFacts(Settings):
    """What the card says beyond the bundle's configuration."""

    name: str
    """of the experiment"""
    data: tuple[CardFigure, ...] = ()
    """what it was trained and tested on: films, patients, sources, what was left out"""
    figures: tuple[CardFigure, ...] = ()
    """how well it does, on films it was not trained on"""
    limitations: tuple[str, ...] = ()
    """what is known of this model, beside what holds for all"""


def render_card(config: BundleConfig, facts: CardFacts) -> str:
    """The card as Markdown, with the tags that model hubs read at its head."""
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
            *_section("Figures", _table((row.name, row.value) for row in facts.figures)),
            *_section("Images that it should not score", _caution_lines(config)),
            *_section("Operating points", _table(_point_rows(config))),
            *_section(
                "Limitations",
                [f"- {_plain(text)}" for text in (*facts.limitations, *_LIMITATIONS)] + [""],
            ),
            *_section("Use", ["```", "pulmospark predict BUNDLE FILM... --out DIR", "```", ""]),
        )
    )


def _model_rows(config: BundleConfig) -> list[tuple[str, str]]:
    known = entry(config.model)
    start = config.weights or "random (trained from scratch)"
    how = {
        "features": "logistic regression on the deep features of the frozen network",
        "network": "the network itself was trained",
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
        ("Made at", str(config.training.get("made_at", "not known"))),
        ("pulmospark", str(config.training.get("pulmospark", "not known"))),
    ]


def _caution_lines(config: BundleConfig) -> list[str]:
    """What happens to images unlike those trained on."""
    told = config.distance
    lines = []
    if config.phantoms:
        lines.append(
            "- It was trained on phantoms, images that a program draws: its answers say nothing "
            "of a person. It refuses other images unless `--allow-phantom-model` is given."
        )
    if config.body_parts == "chest":
        lines.append(
            "- DICOM images whose header names another part of the body than the chest are "
            "refused unless `--any-body-part` is given."
        )
    if told is None:
        lines.append(
            "- Whether an image is unlike those trained on is not assessable: there are no "
            "statistics of their features."
        )
    else:
        lines.append(
            f"- An image whose features lie beyond a distance of {told.fence:.4g} gets a caution: "
            f"{100 * (1 - told.quantile):.3g} % of {told.images:,} training images do, each "
            f"measured by those of other patients (Mahalanobis distance with {told.rank} "
            "principal components; see `distance.safetensors`)."
        )
    return [*lines, ""]


def _point_rows(config: BundleConfig) -> list[tuple[str, str]]:
    return [(point.positive_class, _point_text(point)) for point in config.operating_points]


def _point_text(point: BundleOperatingPoint) -> str:
    text = (
        f"probability of {point.threshold:.4f} and more; chosen on {point.chosen_on} images that "
        f"are not tested, for a sensitivity of {point.sensitivity_target:.2f}"
    )
    if not point.reached:
        return f"{text}, which they did not allow"
    if point.positives is not None:
        text += f"; {point.positives} of them of this class, of {point.positive_groups} patients"
        if point.positives < limits.OPERATING_POSITIVES_MIN:
            text += f" (fewer than {limits.OPERATING_POSITIVES_MIN}: a coarse choice)"
    if point.expected_low is not None and point.expected_high is not None:
        text += (
            f"; sensitivity to expect on new patients: {point.expected_low:.2f} to "
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
    """One line, without tags: names come from data sets and are anyone's."""
    return " ".join(text.replace("<", "&lt;").split())
