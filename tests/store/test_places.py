"""Folders of tables on a disk: what is said of files and folders that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.places import DiskPlace


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    place = DiskPlace(tmp_path / "new")
    assert place.names("table") == []
    for request in (place.size, place.read, lambda key: place.rename(key, "other/b")):
        with pytest.raises(ObjectMissingError, match="new/table/a: no such file"):
            request("table/a")


def test_folders_are_made_where_they_are_missing(tmp_path: Path) -> None:
    place = DiskPlace(tmp_path / "new")
    place.write("staged/a", b"1")
    place.rename("staged/a", "table/a")
    place.create("log/b", b"2")
    assert (place.read("table/a"), place.read("log/b")) == (b"1", b"2")
    assert place.names("staged") == []
