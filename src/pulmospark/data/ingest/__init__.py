"""Ingest: from folders of images to the images table and the rejects table.

Imports no other part of data.
Cohort, inference and all packages above them may import it.
"""
