"""The run that trained a bundle, if the bundle lies in its folder, and its audits' verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.experiment.run_folder import RunFolder


def run_of(bundle: Path) -> RunFolder | None:
    """The run whose bundle this is; ``None``: it was copied elsewhere.

    Args:
        bundle: its folder.
    """
    run = RunFolder(bundle.parent)
    return run if run.bundle == bundle and run.settings.is_file() else None


def audits_of(run: RunFolder) -> list[dict[str, Any]]:
    """A ``responses.VerdictAnswer`` as JSON for each audit, worst first; none: not audited."""
    # As JSON: its model's module would import the metrics' libraries, a second's work.
    try:
        report = files.read_json(run.audit / "audit.json")
        return [
            {
                "audit": audit["name"],
                "title": audit["title"],
                "verdict": audit["verdict"],
                "text": audit["sentence"],
            }
            for audit in report["audits"]
        ]
    except (InputError, KeyError, TypeError):
        return []
