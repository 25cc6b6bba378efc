"""A run and a model as a notebook shows them: short HTML, all text escaped."""

from __future__ import annotations

import pulmospark
from pulmospark.audit.results import AuditReport
from pulmospark.core.html import html_table
from pulmospark.core.safe_text import percent
from pulmospark.evaluation import registry
from pulmospark.evaluation.results import Evaluation
from pulmospark.models.bundle.bundle import Bundle

_SOURCE_RULE = "image-blind baseline: most frequent class of each source"


def run_html(
    title: str,
    evaluation: Evaluation | None,
    audits: AuditReport | None,
    *,
    test_set: str,
    places: dict[str, str],
) -> str:
    """A run: its metrics, how its audits ended, and where its report and model are.

    Args:
        title: of the table.
        evaluation: ``None``: it is not evaluated yet.
        audits: ``None``: it is not audited yet.
        test_set: what the metrics are of, in words.
        places: what lies where.
    """
    rows = [("metrics", "not evaluated yet")]
    if evaluation is not None:
        rows = [
            ("test set", test_set),
            *(
                (f"{metric.words} ({evaluation.confidence:.0%} CI)", metric.of(evaluation).text())
                for metric in registry.overall("terminal")
            ),
        ]
        if evaluation.trivial is not None:
            rule = evaluation.trivial.most_frequent_class_of_source
            known = evaluation.trivial.source_assessable
            rows.append((_SOURCE_RULE, rule.text() if known else "not assessable"))
    rows.append(("audits", "not audited yet" if audits is None else repr(audits).strip("<>")))
    rows += places.items()
    return html_table(title, rows, note=pulmospark.NOT_A_MEDICAL_DEVICE)


def model_html(bundle: Bundle) -> str:
    """A model: network, classes, operating points, and what it was trained on."""
    config = bundle.config
    size = config.input_size
    rows = [
        ("network", config.model),
        ("classes", ", ".join(config.classes)),
        ("input", f"{size} x {size} pixels, grey"),
        ("trained on", "phantoms" if config.phantoms else "images"),
    ]
    rows += [
        (f"operating point for {point.positive_class}", f"threshold {percent(point.threshold)}")
        for point in config.operating_points
    ]
    rows += [("id", bundle.model_id), ("bundle", str(bundle.folder))]
    return html_table(f"Model {config.model}", rows, note=pulmospark.NOT_A_MEDICAL_DEVICE)
