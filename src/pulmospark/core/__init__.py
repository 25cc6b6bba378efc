"""Errors, limits, hashing, schemas, files, provenance, progress: what every package uses.

Imports no other package of ours, and neither Spark, torch nor pydicom.
Any package may import it.
"""
