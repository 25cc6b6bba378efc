"""Engines: a network built for OpenVINO or PyTorch, cached, and run by workers.

Imports no other part of inference.
Precision, batch, stream and all packages above inference may import it.
"""
