"""Fetching a data set: resumed, bounded, checked; against a server on loopback."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pulmospark.cli.download import command
from pulmospark.core.download import Bounds, download
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.layouts.datasets.hannover import Hannover
from pulmospark.layouts.download import fetch_data_set, fetchable
from servers import Server, serving

_SHEET = "patient_id,image_id,sex,age,admission_offset,modality,projection\n1,aa,m,,0,CR,ap\n"
_ROOMY = Bounds(10**8, 60.0)


def _zip(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


_SET = _zip({"repo-master/data.csv": _SHEET.encode(), "repo-master/png/aa.png": bytes(200_000)})
_HASH = hashlib.sha256(_SET).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(_SET) as started:
        monkeypatch.setattr(Hannover, "download", started.url)
        yield started


def test_a_data_set_is_fetched_and_unpacked(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    result = fetch_data_set(
        "hannover", tmp_path, _ROOMY, progress=lambda done, total: told.append((done, total))
    )
    assert (result.sha256, result.checked, result.files) == (_HASH, False, 2)
    assert (tmp_path / "hannover" / "data.csv").read_text() == _SHEET
    assert (tmp_path / "hannover" / "png" / "aa.png").read_bytes() == bytes(200_000)
    assert told[-1] == (len(_SET), len(_SET))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hannover", "hannover.fetch.json"]
    again = fetch_data_set("Hannover", tmp_path, _ROOMY)
    assert again.already
    assert fetch_data_set("hannover", tmp_path, _ROOMY, sha256=_HASH.upper()).already
    assert len(server.asked) == 1
    with pytest.raises(PlatformError, match="is from an archive with SHA-256"):
        fetch_data_set("hannover", tmp_path, _ROOMY, sha256="0" * 64)


def test_a_fetch_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cut = 100
    with pytest.raises(PlatformError, match="run again to resume"):
        fetch_data_set("hannover", tmp_path, _ROOMY)
    assert not (tmp_path / "hannover").exists()
    server.cut = None
    assert fetch_data_set("hannover", tmp_path, _ROOMY).sha256 == _HASH
    assert server.asked == [None, "bytes=100-"]


def test_two_editions_are_not_joined(server: Server, tmp_path: Path) -> None:
    server.cut = 100
    with pytest.raises(PlatformError):
        fetch_data_set("hannover", tmp_path, _ROOMY)
    server.cut, server.etag = None, '"two"'
    server.content = _zip({"repo-master/data.csv": (_SHEET + "1,bb,m,,0,CR,ap\n").encode()})
    result = fetch_data_set("hannover", tmp_path, _ROOMY)
    assert result.sha256 == hashlib.sha256(server.content).hexdigest()
    assert "bb" in (tmp_path / "hannover" / "data.csv").read_text()


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_mark_of_the_edition_it_begins_anew(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.cut, server.etag = 100, etag
    with pytest.raises(PlatformError):
        fetch_data_set("hannover", tmp_path, _ROOMY)
    server.cut = None
    assert fetch_data_set("hannover", tmp_path, _ROOMY).sha256 == _HASH
    assert server.asked == [None, None]


def test_another_content_than_was_asked_for_is_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=f"SHA-256 {_HASH}, not {'0' * 64}"):
        fetch_data_set("hannover", tmp_path, _ROOMY, sha256="0" * 64)
    assert not list(tmp_path.iterdir())
    assert fetch_data_set("hannover", tmp_path, _ROOMY, sha256=_HASH.upper()).checked
    # A folder that was taken away has to come back as it was.
    (tmp_path / "hannover" / "data.csv").unlink()
    (tmp_path / "hannover" / "png" / "aa.png").unlink()
    (tmp_path / "hannover" / "png").rmdir()
    (tmp_path / "hannover").rmdir()
    server.content = _zip({"repo-master/data.csv": _SHEET.encode()})
    with pytest.raises(PlatformError, match="was discarded"):
        fetch_data_set("hannover", tmp_path, _ROOMY)


def test_too_much_is_refused_by_its_length_or_when_it_comes(
    server: Server, tmp_path: Path
) -> None:
    for server.length in (True, False):
        with pytest.raises(PlatformError, match="over the limit of 50"):
            fetch_data_set("hannover", tmp_path, Bounds(50, 60.0))
    with pytest.raises(PlatformError, match="in the 0 minutes allowed"):
        fetch_data_set("hannover", tmp_path / "fresh", Bounds(10**8, 0.0))


def test_what_is_no_such_data_set_is_not_left_there(server: Server, tmp_path: Path) -> None:
    server.content = _zip({"repo-master/readme.md": b"moved"})
    with pytest.raises(InputError, match="does not have the layout hannover"):
        fetch_data_set("hannover", tmp_path, _ROOMY)
    assert not (tmp_path / "hannover").exists()


def test_names_and_addresses_that_cannot_be_fetched(tmp_path: Path) -> None:
    assert {layout.name for layout in fetchable()} == {
        "covid_chestxray",
        "hannover",
        "actualmed",
        "figure1",
    }
    assert all((layout.download or "").startswith("https://") for layout in fetchable())
    with pytest.raises(UsageError, match="chexpert: cannot be downloaded"):
        fetch_data_set("chexpert", tmp_path, _ROOMY)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        fetch_data_set("figure1", tmp_path, _ROOMY, sha256="abc")
    with pytest.raises(UsageError, match="only http and https"):
        download("file:///etc/passwd", tmp_path / "x", _ROOMY)
    with pytest.raises(PlatformError, match="cannot be downloaded"):
        download("http://127.0.0.1:9/x", tmp_path / "x", _ROOMY)


def test_redirects_lead_to_http_and_never_out_of_https(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server has no certificate: what begins with https is asked without one.
    monkeypatch.setattr(
        urllib.request.HTTPSHandler,
        "https_open",
        lambda self, request: self.do_open(http.client.HTTPConnection, request),
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    plain = server.url.replace("set.zip", "moved.zip")
    secure, secure_set = (url.replace("http:", "https:") for url in (plain, server.url))
    for number, (start, there) in enumerate(
        ((plain, server.url), (plain, secure_set), (secure, secure_set))
    ):
        server.moved_to = there
        assert download(start, tmp_path / f"{number}.zip", _ROOMY) == _HASH
    for start, there, followed in (
        (secure, server.url, "https"),
        (plain, "ftp://127.0.0.1:9/set.zip", "http and https"),
    ):
        server.moved_to = there
        with pytest.raises(PlatformError, match=f"but only {followed} is followed"):
            download(start, tmp_path / "refused.zip", _ROOMY)
    assert len(server.asked) == 8  # two of each that was followed, one of each that was not
    assert not (tmp_path / "refused.zip").exists()


def test_the_command(server: Server, tmp_path: Path) -> None:
    said = CliRunner().invoke(command, ["hannover", "--out", str(tmp_path), "--sha256", _HASH])
    assert said.exit_code == 0, said.output
    assert f"SHA-256 of the archive {_HASH} (as expected)" in said.output
    assert "licence: CC BY 3.0" in said.output
    said = CliRunner().invoke(command, ["hannover", "--out", str(tmp_path), "--json"])
    assert json.loads(said.stdout)["already"] is True
    assert len(server.asked) == 1
