"""The report: one self-contained HTML file."""

from pulmospark.report.content import ReportContent
from pulmospark.report.films import thumbnail
from pulmospark.report.page import render_report, write_report

__all__ = ["ReportContent", "render_report", "thumbnail", "write_report"]
