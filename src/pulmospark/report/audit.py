"""The page of audits alone, for a table or a run that has no report yet."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pulmospark
from pulmospark.core import files
from pulmospark.report.audit_content import AuditPage
from pulmospark.report.page import environment
from pulmospark.report.phantom import say_phantoms
from pulmospark.report.text import clean_text


def render_audit_page(content: AuditPage) -> str:
    """The audits as one HTML document that needs nothing but itself."""
    page = (
        environment()
        .get_template("audit_page.html.j2")
        .render(
            content=content,
            audits=content.audits,
            notice=pulmospark.NOT_A_MEDICAL_DEVICE,
            version=pulmospark.__version__,
            made_at=content.made_at.astimezone(UTC),
        )
    )
    if content.is_phantom:
        page = say_phantoms(page)
    cleaned: str = clean_text(page)
    return cleaned


def write_audit_page(content: AuditPage, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    files.write_text(path, render_audit_page(content))
