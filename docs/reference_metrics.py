"""The table of the metrics within their page, from the registry."""

from __future__ import annotations

import re

from reference_words import table

from pulmospark.evaluation import registry

_BLOCK = re.compile(r"(<!-- metrics: .* -->\n\n).*?(\n\n<!-- end of metrics -->)", re.DOTALL)
_METHODS: dict[registry.Interval, str] = {
    "wilson": "Wilson",
    "percentile": "bootstrap",
    "basic": "basic bootstrap",
    "newcombe": "bootstrap, or Newcombe",
}


def with_metrics(page: str) -> str:
    """The page with the current table of metrics between its two markers."""
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
    text = table(("metric", "of", "definition", "CI method", "better"), rows)
    filled, blocks = _BLOCK.subn(lambda match: match[1] + text.rstrip() + match[2], page)
    if blocks != 1:
        raise SystemExit("metrics.md: the two markers of the table are missing")
    return filled
