"""Metrics, intervals and calibration of predictions."""
