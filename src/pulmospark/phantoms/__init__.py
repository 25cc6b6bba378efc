"""Phantoms: chest X-rays that are drawn, not taken; for demos and tests only."""
