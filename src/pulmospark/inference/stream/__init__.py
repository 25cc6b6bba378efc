"""Streams: images predicted as they arrive, through one exactly-once ledger.

Imports ``inference.batch`` and what is below it.
Packages above inference may import it.
"""
