"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locations import check_local, local_path

ELSEWHERE = (
    "s3://bucket/x",
    "s3a://bucket/x",
    "S3://bucket/x",
    "gs://bucket/x",
    "hdfs://name:8020/x",
    "hdfs:/x",
    "abfss://c@account.dfs.core.windows.net/x",
    "wasbs://c@account/x",
    "dbfs:/x",
    "https://host/image.png",
    "jar:file:/x.jar!/y",
    " s3://bucket/x",
    "file://otherhost/x",
    "file://otherhost",
    "file://user@localhost/x",
)


@pytest.mark.parametrize("text", ELSEWHERE)
def test_an_address_elsewhere_is_refused_in_one_line(text: str) -> None:
    for kind in (UsageError, InputError):
        with pytest.raises(kind) as caught:
            local_path(text, error=kind)
        assert text in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["a b", "x#1.png", "100%.png", "50%25.png", "é", "a?b", "a;b=c"])
def test_a_uri_made_by_the_standard_library_names_the_same_path(name: str) -> None:
    path = Path("/data") / name
    assert local_path(path.as_uri()) == path
    assert local_path(path.as_uri().replace("file://", "file:")) == path
    assert local_path(path.as_uri().replace("file://", "file://localhost")) == path
    assert local_path(path.as_uri().replace("file:", "FILE:")) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:/a b/100%25.png", "/a b/100%25.png"),  # Hadoop's Path.toString: nothing escaped
        ("file:/a/x#1%20.png", "/a/x#1%20.png"),
        ("file:/a/é%20.png", "/a/é%20.png"),
        ("file:///a%20b/x%231.png", "/a b/x#1.png"),
        ("file:/a%20b/x.png", "/a b/x.png"),
        ("file:///a/100%.png", "/a/100%.png"),
        ("file:////a", "/a"),
        ("file:///a?b", "/a?b"),
    ],
)
def test_both_spellings_of_spark_are_read(text: str, path: str) -> None:
    assert local_path(text) == Path(path)


@pytest.mark.parametrize(
    "text", ["a", "./s3:/x", "~/x", "C:/images/x", "a:b", "12:/x", "a/s3://x", "file:x", "", "%20"]
)
def test_a_plain_path_stays_as_it_is(text: str) -> None:
    assert local_path(text) == Path(text)


def test_bytes_that_are_no_utf8_are_spelt_as_the_system_spells_them() -> None:
    assert local_path("file:///a%FF") == Path("/a\udcff")


@pytest.mark.parametrize("text", ["a\0b", "file:///a%00b"])
def test_a_nul_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid in a path"):
        local_path(text)


def test_a_path_object_made_of_an_address_is_refused() -> None:
    with pytest.raises(UsageError, match="s3:"):
        check_local(Path("s3://bucket/x"))
    assert check_local(Path("file:///a%20b")) == Path("/a b")
    assert check_local(Path("a b%20")) == Path("a b%20")
