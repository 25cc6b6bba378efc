"""The page of audits alone, for a table or a run that has no report yet."""

from __future__ import annotations

from pathlib import Path

from pulmospark.core import files
from pulmospark.report.audit_content import AuditPage
from pulmospark.report.audit_plot import audit_drawings
from pulmospark.report.page import fill


def render_audit_page(content: AuditPage) -> str:
    """The audits as one HTML document that needs nothing but itself."""
    return fill(
        "audit_page.html.j2",
        content.is_phantom,
        content.made_at,
        content=content,
        audits=content.audits,
        drawings={drawing.name: drawing for drawing in audit_drawings(content.audits)},
    )


def write_audit_page(content: AuditPage, path: Path) -> None:
    """Write the page atomically.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    files.write_text(path, render_audit_page(content))
