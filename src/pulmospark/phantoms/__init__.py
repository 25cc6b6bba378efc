"""Phantoms: synthetic chest X-rays, for demos and tests only."""
