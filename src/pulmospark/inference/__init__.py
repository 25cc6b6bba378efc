"""Inference: the engine that runs a network, batch predictions, streams and export.

Imports models, data, Spark and what is below them.
Training, audit and all packages above them may import it.
"""
