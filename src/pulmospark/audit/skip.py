"""Check the names of audits to skip, before any work and without loading the audits."""

from __future__ import annotations

from pulmospark.config.audit import AuditSettings
from pulmospark.core.errors import UsageError
from pulmospark.core.suggestions import did_you_mean


def check_skip(settings: AuditSettings) -> None:
    """Check the names of the audits to skip; needs neither data nor Spark.

    Raises:
        UsageError: there is no such audit.
    """
    if not settings.skip:
        return
    from pulmospark.audit import registry  # noqa: PLC0415 - loads torch

    names = [audit.name for audit in registry.AUDITS]
    for name in settings.skip:
        if name not in names:
            raise UsageError(
                f"audit.skip: no audit {name!r}{did_you_mean(name, names)}: choose from "
                f"{', '.join(names)}"
            )
