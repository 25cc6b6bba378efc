"""The report: one self-contained HTML file, by :func:`pulmospark.report.page.write_report`."""
