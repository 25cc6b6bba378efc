"""Batch prediction: inputs, tasks of the workers, publication, CSV files, the scorer.

Imports ``inference.precision`` and ``inference.engine``.
Stream, export, plan and all packages above inference may import it.
"""
