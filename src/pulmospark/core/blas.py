"""Threads of numpy's and scipy's linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit numpy's and scipy's products to a thread each within a ``with`` block.

    For several small products at once: a second thread waits, spinning, more than it works, and
    takes the core of the next product. Sums are then the same for any number of cores.
    """
    from threadpoolctl import (  # type: ignore[import-untyped]  # noqa: PLC0415 - few need it
        threadpool_limits,
    )

    limited: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limited
