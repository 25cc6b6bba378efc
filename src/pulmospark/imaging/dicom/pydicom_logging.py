"""Keep pydicom from talking: what it warns of and logs holds values of attributes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger("pydicom")


def _refuse(record: logging.LogRecord) -> bool:
    del record
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """While it holds, pydicom's warnings and log records go nowhere; all is put back after."""
    propagates, silent = _LOGGER.propagate, logging.NullHandler()
    handlers = list(_LOGGER.handlers)
    for handler in handlers:
        handler.addFilter(_refuse)
    _LOGGER.addHandler(silent)  # without any handler, logging would write to stderr
    _LOGGER.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _LOGGER.propagate = propagates
        _LOGGER.removeHandler(silent)
        for handler in handlers:
            handler.removeFilter(_refuse)
