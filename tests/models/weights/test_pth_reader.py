"""A .pth file is read without being run; anything but tensors is refused."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.models.weights.pth_reader import read_torch_archive


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3).half())


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_wrote(tmp_path: Path, network: nn.Module, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    found = read_torch_archive(path)
    wanted = network.state_dict()
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_views_shared_storages_and_parameters(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    table = {
        "whole": base,
        "turned": base.t(),
        "part": base[1:3, 2:4],
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "views.pth"
    torch.save(collections.OrderedDict(table), path, _use_new_zipfile_serialization=zipped)
    found = read_torch_archive(path)
    assert found.keys() == table.keys()
    assert all(torch.equal(found[key], table[key]) for key in table)
    assert all(tensor.is_contiguous() for tensor in found.values())


class _Call:
    """Unpickled, it would call ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_runs_nothing_that_the_file_names(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    evil = {"weight": torch.zeros(1), "x": _Call(os.mkdir, str(trace))}
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="mkdir"):
        read_torch_archive(path)
    assert not trace.exists()


def test_refuses_a_plain_pickle_that_calls(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps(_Call(os.mkdir, str(trace)), protocol=2))
    with pytest.raises(InputError, match="no code is executed"):
        read_torch_archive(path)
    assert not trace.exists()


@pytest.mark.parametrize("value", [{"a": 1}, {}, [torch.zeros(1)], {"a": {"b": torch.zeros(1)}}])
def test_refuses_more_or_less_than_a_table_of_tensors(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "other.pth"
    torch.save(value, path)
    with pytest.raises(InputError, match=r"not a state dict|more than tensors"):
        read_torch_archive(path)


def test_refuses_a_whole_module(tmp_path: Path) -> None:
    path = tmp_path / "module.pth"
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(InputError, match=r"torch\.nn"):
        read_torch_archive(path)


@pytest.mark.parametrize(("wide", "reach"), [(b"K\x64", "size"), (b"J\xff\xff\xff\xff", "offset")])
def test_refuses_a_tensor_larger_than_its_storage(tmp_path: Path, wide: bytes, reach: str) -> None:
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    torch.save({"a": torch.zeros(7)}, good)
    old = b"K\x00K\x07\x85" if reach == "size" else b"K\x00K\x07"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"K\x00K\x07\x85") + data.count(b"K\x00K\x07") >= 1
                data = data.replace(
                    old, b"K\x00" + wide + b"\x85" if reach == "size" else wide + b"K\x07"
                )
            target.writestr(name, data)
    with pytest.raises(InputError, match="not a plain weights file"):
        read_torch_archive(bad)


def test_refuses_a_file_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.pth"
    torch.save({"a": torch.zeros(100)}, path)
    monkeypatch.setattr(limits, "WEIGHTS_FILE_BYTES_MAX", 100)
    with pytest.raises(InputError, match="over 100"):
        read_torch_archive(path)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_torch_archive(tmp_path / "none.pth")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), zipped=st.booleans())
def test_a_damaged_file_gives_tensors_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, zipped: bool
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "weights.pth"
    torch.save({"a": torch.arange(9.0)}, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[:cut] if data.draw(st.booleans()) else content))
    try:
        found = read_torch_archive(path)
    except InputError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
