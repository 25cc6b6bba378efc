"""Pieces of work for the tests of chunks; a module of its own, for the workers import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pulmospark.core import errors
from pulmospark.core.hashing import value_id


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers, parts odd from even, and notes each time it is called.

    Attributes:
        notes: folder in which each call leaves a file.
        fails_at: number at which it raises.
        error: name of pulmospark's error; "killed": the worker ends as the system ends one that
            takes too much memory; any other name: a ValueError.
        pause_s: seconds that each other call takes.
    """

    notes: str
    fails_at: int | None = None
    error: str = "ValueError"
    pause_s: float = 0.0
    columns: Sequence[str] | None = ("number",)

    def key(self, chunk: pa.Table) -> str:
        """The numbers."""
        return value_id(chunk.to_pylist())

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``even`` and ``odd``."""
        numbers = chunk["number"].to_pylist()
        call = f"{numbers[0]}-{os.getpid()}-{os.urandom(4).hex()}"
        with open(os.path.join(self.notes, call), "w"):  # noqa: PTH118, PTH123
            pass
        if self.fails_at in numbers and self.error == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails_at in numbers:
            raise getattr(errors, self.error, ValueError)(f"cannot double {self.fails_at}")
        time.sleep(self.pause_s)
        odd = pa.array([number % 2 == 1 for number in numbers])
        doubled = pa.table({"double": pc.multiply(chunk["number"], 2)})
        return {"even": doubled.filter(pc.invert(odd)), "odd": doubled.filter(odd)}


@dataclass(frozen=True)
class Killing:
    """Doubles numbers but for some, at which the worker ends as the system ends one.

    Attributes:
        notes: folder in which each end leaves a file.
        deadly: numbers.
        error: "killed", or name of pulmospark's error that the first tries raise.
        tries: calls on a deadly number that fail; ``None``: all.
    """

    notes: str
    deadly: tuple[int, ...]
    error: str = "killed"
    tries: int | None = None
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        """The numbers."""
        return value_id(chunk.to_pylist())

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``doubled``."""
        if set(chunk["number"].to_pylist()) & set(self.deadly):
            seen = len(os.listdir(self.notes))  # noqa: PTH208
            if self.tries is None or seen < self.tries:
                with open(os.path.join(self.notes, f"{os.getpid()}-{seen}"), "w"):  # noqa: PTH118, PTH123
                    pass
                if self.error == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise getattr(errors, self.error)(f"host-7: cannot read {self.deadly[0]}")
        return {"doubled": pa.table({"double": pc.multiply(chunk["number"], 2)})}


@dataclass(frozen=True)
class RejectingKilling(Killing):
    """The same, of numbers that may be rejected."""

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """Rows of ``rejects``."""
        return {"rejects": rows.append_column("detail", [[detail] * rows.num_rows])}
