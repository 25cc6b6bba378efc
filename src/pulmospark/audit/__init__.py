"""Audits: whether a data set, a split and a model can be trusted; one file a test."""
