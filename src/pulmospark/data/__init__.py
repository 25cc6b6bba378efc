"""Ingest and split: tables from files, and tables from tables."""
