"""Addresses in stores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core.errors import InputError, UsageError
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://hospital", StoreUri("s3", "hospital", "")),
        ("s3a://hospital/a/b.png", StoreUri("s3", "hospital", "a/b.png")),
        ("S3N://hospital/a b%20c#d?e.png", StoreUri("s3", "hospital", "a b%20c#d?e.png")),
        ("gs://x-ray_set/ü.dcm", StoreUri("gs", "x-ray_set", "ü.dcm")),
        (
            "abfs://images@account.dfs.core.windows.net/a",
            StoreUri("abfss", "images@account.dfs.core.windows.net", "a"),
        ),
        ("abfss://images@account/a", StoreUri("abfss", "images@account", "a")),
    ],
)
def test_an_address_is_read(text: str, expected: StoreUri) -> None:
    assert is_store_uri(text)
    assert parse_uri(text) == expected
    assert parse_uri(str(expected)) == expected


@pytest.mark.parametrize("text", ["/a/b", "a.png", "file:///a", "C:/x", "https://h/x", "hdfs:/x"])
def test_another_text_is_none(text: str) -> None:
    assert not is_store_uri(text)
    with pytest.raises(UsageError, match="not an address of a store"):
        parse_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3:///x",
        "s3://a b/x",
        "s3://../x",
        "abfss://images/x",
        "gs://h/\0",
        "s3://h/" + "x" * 1025,
    ],
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_uri(text, error=InputError)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError) as raised:
        parse_uri("s3://AKIA123:abcsecret@bucket/x")
    assert "abcsecret" not in str(raised.value)
    assert "AKIA123" not in str(raised.value)


@given(st.text(max_size=200).filter(lambda key: "\0" not in key and not key.startswith("/")))
def test_any_key_survives(key: str) -> None:
    uri = StoreUri("s3", "hospital", key)
    assert parse_uri(str(uri)) == uri


def test_names_below() -> None:
    folder = parse_uri("s3://hospital/images")
    assert str(folder / "a.png") == "s3://hospital/images/a.png"
    assert str(parse_uri("s3://hospital") / "a.png") == "s3://hospital/a.png"
    assert (folder / "b/c.png").name == "c.png"
