"""Comparisons: several networks, or ways to train one, on the same split.

Imports the pipeline.
The command line and the front door may import it.
"""
