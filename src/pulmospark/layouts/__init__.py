"""Layouts of public data sets: which files are images, and what is known of each.

Needs neither Spark nor torch.
Data, inference and all packages above them may import it.
"""
