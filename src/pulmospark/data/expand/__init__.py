"""Expand: augmented copies of training images, as a table of their own.

Imports ``data.cohort`` and augment.
Training and experiment may import it.
"""
