"""The engine that runs a network, and scoring in batch."""
