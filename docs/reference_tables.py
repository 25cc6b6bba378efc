"""Tables within pages that are otherwise written by hand."""

from __future__ import annotations

import re

from reference_words import table

from pulmospark.audit.registry import AUDITS
from pulmospark.evaluation import registry

_METHODS: dict[registry.Interval, str] = {
    "wilson": "Wilson",
    "percentile": "bootstrap",
    "basic": "basic bootstrap",
    "newcombe": "bootstrap, or Newcombe",
}


def with_metrics(page: str) -> str:
    """The page with the current table of metrics."""
    rows = [
        (
            f"`{metric.name}`",
            "each class" if metric.scope == "class" else "all classes",
            metric.definition,
            _METHODS[metric.interval],
            metric.better,
        )
        for metric in registry.METRICS
    ]
    return _filled(page, "metrics", ("metric", "of", "definition", "CI method", "better"), rows)


def with_audits(page: str) -> str:
    """The page with the current tables of audits."""
    for name, runs_model in (("audits", False), ("costly audits", True)):
        rows = [
            (f"`{audit.name}`", audit.looks_for)
            for audit in AUDITS
            if audit.runs_model == runs_model
        ]
        page = _filled(page, name, ("audit", "looks for"), rows)
    return page


def _filled(page: str, name: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A page with a table between the markers of a name."""
    block = re.compile(rf"(<!-- {name}: [^>]* -->\n\n).*?(\n\n<!-- end of {name} -->)", re.DOTALL)
    text = table(head, rows).rstrip()
    filled, blocks = block.subn(lambda match: match[1] + text + match[2], page)
    if blocks != 1:
        raise SystemExit(f"the two markers of the table of {name} are missing")
    return filled
