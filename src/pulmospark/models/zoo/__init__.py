"""The zoo: one entry per network, plain values and a builder that imports torch when called.

Imports no other part of models; ``catalogue`` and ``entry`` work without torch.
The rest of models and all packages above it may import it.
"""
