"""Addresses, for those who use a store: see :mod:`pulmospark.core.store_uri`."""

from __future__ import annotations

from pulmospark.core.store_uri import StoreUri, is_store_uri, parse_uri, place_text

__all__ = ["StoreUri", "is_store_uri", "parse_uri", "place_text"]
