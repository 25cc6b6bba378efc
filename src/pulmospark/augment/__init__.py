"""Augmentation: films changed by chance, each change recorded so that it can be made again."""
