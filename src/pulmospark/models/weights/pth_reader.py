"""Read the tensors of a ``.pth`` file without unpickling it.

torch.save writes a pickle, a program that can call anything. Here ``pickletools`` only splits it
into opcodes, and this module interprets the few that a state dict needs. It imports and calls
nothing that the file names, and refuses everything else. Both formats are supported: the zip
archive (torch 1.6 and later) and the older plain file.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pulmospark.core import limits
from pulmospark.core.errors import InputError

_DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_DICT = "collections OrderedDict"
_TENSOR = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2")
_PARAMETER = "torch._utils _rebuild_parameter"
_NAMES = {*_DTYPES, _DICT, _PARAMETER, *_TENSOR}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Name:
    """A function or class that the file names; never looked up."""

    name: str


@dataclass
class _Storage:
    """A block of numbers; in the older format ``data`` follows the pickle."""

    key: str
    dtype: torch.dtype
    count: int
    data: torch.Tensor | None = None


@dataclass
class _View:
    """A tensor as a view of a storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> torch.Tensor:
        data = self.storage.data
        reach = self.offset + sum(
            (n - 1) * step for n, step in zip(self.size, self.stride, strict=True)
        )
        count = torch.Size(self.size).numel()
        if data is None or min(self.offset, *self.stride, *self.size, 0) < 0:
            raise ValueError("a tensor without data")
        if count > len(data) or (count and reach >= len(data)):
            raise ValueError("a tensor larger than its storage")
        return data.as_strided(self.size, self.stride, self.offset).clone().contiguous()


@dataclass
class _Machine:
    """Interprets allowed opcodes, and raises ValueError for any other."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, _Storage] = field(default_factory=dict)

    def run(self, program: BinaryIO) -> Any:
        for opcode, value, _ in pickletools.genops(program):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, value)
        raise ValueError("a pickle without an end")

    def _step(self, name: str, value: Any) -> None:
        if name in _LITERALS:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._take(_TUPLES[name])))
        elif (action := _ACTIONS.get(name)) is not None:
            action(self, value)
        else:
            raise ValueError(f"the instruction {name}")

    def _take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("an empty stack")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _since_mark(self) -> list[Any]:
        return self._take(len(self.stack) - self.marks.pop())

    def _name(self, value: str) -> None:
        if value not in _NAMES:
            raise ValueError(f"the name {value.replace(' ', '.')[:80]}")
        self.stack.append(_Name(value))

    def _reduce(self, _: None) -> None:
        called, given = self._take(2)
        if called == _Name(_DICT) and given == ():
            self.stack.append({})
        elif isinstance(called, _Name) and called.name in _TENSOR:
            storage, offset, size, stride = given[:4]
            self.stack.append(_View(storage, offset, size, stride))
        elif called == _Name(_PARAMETER):
            self.stack.append(given[0])
        else:
            raise ValueError(f"a call of {called!r}"[:80])

    def _storage(self, _: None) -> None:
        kind, dtype, key, _place, count = self.stack.pop()[:5]
        if kind != "storage":
            raise ValueError(f"a persistent {kind!r}"[:80])
        storage = _Storage(str(key), _DTYPES[dtype.name], count)
        self.stack.append(self.storages.setdefault(storage.key, storage))

    def _set(self, pairs: list[Any]) -> None:
        table = self.stack[-1]
        if not isinstance(table, dict):
            raise ValueError("items that are set on no dictionary")
        table.update(zip(pairs[::2], pairs[1::2], strict=True))


def _keep(machine: _Machine, place: int) -> None:
    machine.memo[place] = machine.stack[-1]


def _recall(machine: _Machine, place: int) -> None:
    machine.stack.append(machine.memo[place])


_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda _machine, _value: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine._since_mark())),
    "APPEND": lambda machine, _: machine.stack[-2].append(machine.stack.pop()),
    "APPENDS": lambda machine, _: (new := machine._since_mark(), machine.stack[-1].extend(new)),
    "SETITEM": lambda machine, _: machine._set(machine._take(2)),
    "SETITEMS": lambda machine, _: machine._set(machine._since_mark()),
    # The attributes of a state dict (its version notes) are dropped.
    "BUILD": lambda machine, _: machine._take(1),
    "BINPUT": _keep,
    "LONG_BINPUT": _keep,
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "GLOBAL": _Machine._name,
    "REDUCE": _Machine._reduce,
    "BINPERSID": _Machine._storage,
}


def read_torch_archive(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict written by ``torch.save``.

    Raises:
        InputError: the file is missing, too large, damaged, or contains anything but tensors.
    """
    try:
        if (size := path.stat().st_size) > limits.WEIGHTS_FILE_BYTES_MAX:
            raise InputError(f"{path}: {size} bytes, over {limits.WEIGHTS_FILE_BYTES_MAX}")
        state = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if not isinstance(state, dict) or not state:
            raise ValueError("not a state dict")
        if not all(isinstance(k, str) and isinstance(v, _View) for k, v in state.items()):
            raise ValueError("more than tensors")
        return {key: view.tensor() for key, view in state.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    # A damaged file can raise any kind of error here.
    except Exception as error:
        raise InputError(
            f"{path}: not a plain weights file ({error!s:.120}); only tensors are read, no code "
            "is executed: save it with torch.save(model.state_dict(), ...)"
        ) from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sum(sizes.values()) > limits.WEIGHTS_FILE_BYTES_MAX:
            raise ValueError("more bytes unpacked than allowed")
        (program,) = [name for name in sizes if name.endswith("/data.pkl")]
        root = program.removesuffix("data.pkl")
        if root + "byteorder" in sizes and archive.read(root + "byteorder") != b"little":
            raise ValueError("big-endian numbers")
        machine = _Machine()
        state = machine.run(io.BytesIO(archive.read(program)))
        for storage in machine.storages.values():
            storage.data = _numbers(archive.read(f"{root}data/{storage.key}"), storage)
    return state


def _read_legacy(path: Path) -> Any:
    with path.open("rb") as file:
        if _Machine().run(file) != _LEGACY_MAGIC:
            raise ValueError("not a torch file")
        _Machine().run(file)  # protocol
        if not _Machine().run(file)["little_endian"]:
            raise ValueError("big-endian numbers")
        machine = _Machine()
        state = machine.run(file)
        for key in _Machine().run(file):
            storage = machine.storages[key]
            if int.from_bytes(file.read(8), "little") != storage.count:
                raise ValueError("a storage of another length")
            storage.data = _numbers(file.read(storage.count * storage.dtype.itemsize), storage)
    return state


def _numbers(data: bytes, storage: _Storage) -> torch.Tensor:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise ValueError("a truncated storage")
    if not data:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(data), dtype=storage.dtype)
