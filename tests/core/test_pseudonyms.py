"""Salts: made once, kept private, and hashes that join or do not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pulmospark.core.errors import UsageError
from pulmospark.core.pseudonyms import Salt, own_salt, read_salt

ONE, OTHER = Salt(b"one secret of the tests"), Salt(b"other secret of the tests")


@given(st.text())
@example("\u0131")
def test_hashes_hang_on_salt_and_kind_and_show_nothing(value: str) -> None:
    found = ONE.hashed("patient", value)
    if not value.split():
        assert found is None
        return
    # ASCII alone: of other letters some have no way back, as the dotless i.
    other_case = "".join(one.swapcase() if one.isascii() else one for one in value)
    assert found == ONE.hashed("patient", f"  {other_case}\n")
    assert len({found, OTHER.hashed("patient", value), ONE.hashed("study", value)}) == 3
    assert found is not None and len(found) == 20 and set(found) <= set("0123456789abcdef")


def test_it_is_an_hmac_as_openssl_makes_it() -> None:
    # printf 'patient\0a 1' | openssl dgst -sha256 -hmac 'one secret of the tests'
    assert ONE.hashed("patient", " A  1 ") == "104191495f279d1e6659"


def test_a_salt_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "run" / "salt.key"
    first = own_salt(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_salt(path).fingerprint == first.fingerprint == read_salt(path).fingerprint
    assert own_salt(tmp_path / "salt.key").fingerprint != first.fingerprint
    assert path.read_text().strip() not in repr(first)
    assert [entry.name for entry in path.parent.iterdir()] == ["salt.key"]


def test_a_short_or_missing_salt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret")
    for name in ("short", "missing"):
        with pytest.raises(UsageError, match=name):
            read_salt(tmp_path / name)
