"""Benchmarks: ratios of two programs in one run, and the figures of the documents."""
