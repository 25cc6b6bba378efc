"""The report: one self-contained HTML file."""

from pulmospark.report.content import ReportContent
from pulmospark.report.page import render_report, write_report
from pulmospark.report.thumbnails import thumbnail

__all__ = ["ReportContent", "render_report", "thumbnail", "write_report"]
