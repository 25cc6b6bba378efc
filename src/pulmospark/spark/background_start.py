"""Start a Spark session in the background."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Awaited(AbstractContextManager["SparkSession"]):
    """A session that is starting; whoever started it stops it."""

    def __init__(self, opening: Future[SparkSession]) -> None:
        self._opening = opening

    @property
    def is_there(self) -> bool:
        """True once the session is ready or has failed, so entering does not block."""
        return self._opening.done()

    def __enter__(self) -> SparkSession:
        return self._opening.result()

    def __exit__(self, *error: object) -> None:
        pass


@contextlib.contextmanager
def started_early(
    session: AbstractContextManager[SparkSession],
    *,
    first: Callable[[SparkSession], None] = lambda _: None,
) -> Iterator[Awaited]:
    """Start a session at once in a thread, and stop it at the end.

    Spark takes seconds to start, in a process of its own; what is yielded waits for it.
    Where Spark itself is gone when it is to be stopped, an error that is on its way stands.

    Args:
        session: as ``spark_session(...)`` gives it.
        first: what is done with it, still in the thread; it raises nothing.
    """

    def start() -> SparkSession:
        spark = session.__enter__()
        first(spark)
        return spark

    with ThreadPoolExecutor(1, thread_name_prefix="spark-start") as pool:
        opening = pool.submit(start)
        try:
            yield Awaited(opening)
        except BaseException:
            with contextlib.suppress(Exception):
                opening.result()
                session.__exit__(None, None, None)
            raise
        opening.result()
        session.__exit__(None, None, None)
