"""CLAIM 2024: the checklist of items that a report of a model on medical images should have.

Numbers and topics are those of the Checklist for Artificial Intelligence in Medical Imaging,
update 2024 (Tejani et al., Radiology: Artificial Intelligence 6:e240300), in our own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pulmospark.evaluation.results import Result

TOPICS: Mapping[int, str] = MappingProxyType(
    {
        1: "Title or abstract: identified as an AI study, with its type",
        2: "Abstract: structured summary",
        3: "Background and intended clinical use",
        4: "Aims, objectives and hypotheses",
        5: "Prospective or retrospective",
        6: "Goal of the study",
        7: "Where the data come from",
        8: "Who was included and excluded",
        9: "Preprocessing",
        10: "Selection of parts of the data",
        11: "De-identification",
        12: "Missing data",
        13: "How the images were acquired",
        14: "Reference standard: how it was obtained",
        15: "Reference standard: why it was chosen",
        16: "Reference standard: who annotated",
        17: "Annotation of the test set",
        18: "Agreement between and within annotators",
        19: "How data were assigned to partitions",
        20: "At which level partitions are disjoint",
        21: "Intended sample size and its justification",
        22: "Model: full description",
        23: "Software and versions",
        24: "Initialisation of the parameters",
        25: "Training",
        26: "How the final model was chosen",
        27: "Ensembles",
        28: "Metrics of performance",
        29: "Uncertainty and significance",
        30: "Robustness or sensitivity",
        31: "Explainability",
        32: "Evaluation on internal data",
        33: "Test on external data",
        34: "Registration of a clinical trial",
        35: "Numbers included and excluded",
        36: "Demographic and clinical characteristics in each partition",
        37: "Performance in each partition, with uncertainty",
        38: "Diagnostic performance and its precision",
        39: "Analysis of failures",
        40: "Limitations",
        41: "Implications for practice",
        42: "Protocol",
        43: "Availability of software, model and data",
        44: "Funding and its role",
    }
)
"""number -> topic"""


class ClaimItem(Result):
    """One item of the checklist."""

    number: int
    topic: str
    answer: str | None
    """filled in from the run; ``None``: for the authors to answer"""


def checklist(known: Mapping[int, str]) -> tuple[ClaimItem, ...]:
    """All items, filled in where the run has an answer."""
    return tuple(
        ClaimItem(number=number, topic=topic, answer=known.get(number) or None)
        for number, topic in TOPICS.items()
    )


def as_markdown(items: tuple[ClaimItem, ...], title: str) -> str:
    """The checklist as a Markdown table to be completed by the authors."""
    lines = [
        f"# CLAIM 2024 checklist: {title}",
        "",
        f"{sum(item.answer is not None for item in items)} of {len(items)} items are filled in "
        "from the run. The authors answer the others.",
        "",
        "| | item | answer |",
        "|---|---|---|",
    ]
    for item in items:
        answer = "" if item.answer is None else " ".join(item.answer.split()).replace("|", "\\|")
        lines.append(f"| {item.number} | {item.topic} | {answer} |")
    return "\n".join(lines) + "\n"
