"""Near duplicates: fingerprints of images, pairs of near hashes, and their alignment.

Imports no other part of data.
Cohort, audit and experiment may import it.
"""
