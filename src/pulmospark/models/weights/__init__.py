"""Pretrained weights: where they are, how they are downloaded, checked and loaded.

Imports ``models.zoo`` and ``models.bundle``.
Training and all packages above it may import it.
"""
