"""Who may ask: hosts, other sites' pages, tokens, administrators; and what each answer says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pulmospark.config.serve import ServeSettings
from pulmospark.core.errors import UsageError
from pulmospark.serve.tokens import Tokens, read_tokens
from serve.serving import png, sent, serving

TOKEN, ADMIN = "a" * 32, "b" * 32


def _tokens(name: str, token: str) -> Tokens:
    return Tokens({name: hashlib.sha256(token.encode()).digest()})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_need_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--token-file"):
        ServeSettings(host=host, state=tmp_path)
    ServeSettings(host=host, state=tmp_path, token_file=tmp_path / "tokens")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_this_machine_needs_none(host: str, tmp_path: Path) -> None:
    assert ServeSettings(host=host, state=tmp_path).is_local


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8000"}, 421),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[" + "x" * 500}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites_pages_are_refused(
    client: TestClient, headers: dict[str, str], status: int, method: str
) -> None:
    if method == "GET":
        answer = client.get("/api/v1/results", headers=headers)
    else:
        answer = client.post("/api/v1/predict", files={"files": png(1)}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/results", "/no/such/path"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_a_token_is_asked_for_wherever_there_is_something_to_see(
    served_bundle: Path, tmp_path: Path
) -> None:
    with serving(served_bundle, tmp_path, tokens=_tokens("ward-3", TOKEN)) as (client, service):
        paths = ["/api/v1/results", "/api/v1/model", "/metrics", "/openapi.json", "/v2/models/x"]
        for path in (*paths, "/api/v1/jobs", "/api/v1/results/" + "0" * 32):
            assert client.get(path).status_code == 401, path
        for path in ("/", "/health", "/ready", "/v2/health/ready"):
            assert client.get(path).status_code == 200, path
        for header in ("Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ", f"Bearer {TOKEN[:-1]}"):
            answer = client.get("/api/v1/results", headers={"Authorization": header})
            assert answer.status_code == 401, header
        (result,) = sent(client, png(1), Authorization=f"Bearer {TOKEN}")["results"]
        assert result["status"] == "scored"
        lines = [json.loads(line) for line in _audit(service.settings.state)]
        assert lines[-1]["client"] == "ward-3"


def test_the_audit_log_names_no_file_and_no_study(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (client, _):
        form = {"files": ("Jane_Doe_1970.png", png(1))}
        client.post("/api/v1/predict?store=false", files=form)
        client.get("/api/v1/results?study=0123456789abcdef0123")
        client.get("/api/v1/studies/0123456789abcdef0123")
        text = "".join(_audit(tmp_path))
    assert "Doe" not in text
    assert "0123456789abcdef0123" not in text
    scored = json.loads(text.splitlines()[0])
    assert (scored["route"], scored["images"], scored["status"]) == ("/api/v1/predict", 1, 200)
    assert len(text.splitlines()) == 3


def _audit(state: Path) -> list[str]:
    (file,) = (state / "audit").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    return file.read_text().splitlines(keepends=True)


def test_only_an_administrator_exchanges_the_model(served_bundle: Path, tmp_path: Path) -> None:
    with serving(
        served_bundle,
        tmp_path,
        tokens=_tokens("ward-3", TOKEN),
        admins=_tokens("root", ADMIN),
        bundles=served_bundle.parent,
    ) as (client, service):
        before = service.model
        user = {"Authorization": f"Bearer {TOKEN}"}
        admin = {"Authorization": f"Bearer {ADMIN}"}
        assert client.put("/api/v1/model", json={}, headers=user).status_code == 403
        assert client.put("/api/v1/model", json={}).status_code == 401
        assert client.put("/api/v1/model", json={}, headers=admin).status_code == 200
        assert service.model is not before
        for name in ("../bundle", "/", ".", "..", "nothing", "bundle/", "bundle\0"):
            answer = client.put("/api/v1/model", json={"name": name}, headers=admin)
            assert answer.status_code == 404, name
        answer = client.put("/api/v1/model", json={"name": "bundle"}, headers=admin)
        assert answer.json()["model"]["digest"] == before.facts.digest


def test_without_administrators_nobody_exchanges_the_model(client: TestClient) -> None:
    assert client.put("/api/v1/model", json={}).status_code == 403


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("", 0o600, "contains no token"),
        ("short:abc\n", 0o600, "the minimum is"),
        (f"a:{TOKEN}\n", 0o644, "chmod 600"),
        (f"a:{TOKEN}\na:{TOKEN}\n", 0o600, "twice"),
        (f"{TOKEN}\n", 0o600, "NAME:TOKEN"),
        (f"a b:{TOKEN}\n", 0o600, "NAME:TOKEN"),
    ],
)
def test_bad_files_of_tokens_are_refused(text: str, mode: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(UsageError, match=words):
        read_tokens(path)


def test_tokens_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# clients\nward-3:{TOKEN}\n\npacs:{ADMIN}\n")
    path.chmod(0o600)
    tokens = read_tokens(path)
    assert (tokens.name_of(TOKEN), tokens.name_of(ADMIN)) == ("ward-3", "pacs")
    assert tokens.name_of("\udcff") is None
    assert TOKEN not in repr(tokens)
