"""A service in this process, for tests."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from pulmospark.config.serve import ServeSettings
from pulmospark.serve.access import Access
from pulmospark.serve.app import create_app
from pulmospark.serve.jobs import Jobs
from pulmospark.serve.service import Service
from pulmospark.serve.tokens import Tokens


@contextlib.contextmanager
def serving(
    bundle: Path | None,
    state: Path,
    *,
    tokens: Tokens | None = None,
    admins: Tokens | None = None,
    **settings: Any,
) -> Iterator[tuple[TestClient, Service]]:
    """A client of a service, and the service; ``bundle`` ``None``: not ready."""
    chosen = ServeSettings(state=state, workers=2, **settings)
    service = Service(chosen)
    jobs = Jobs(service)
    app = create_app(service, Access.of(chosen, tokens, admins), jobs)
    if bundle is not None:
        service.open_model(bundle)
    try:
        client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        yield client, service
    finally:
        jobs.close()
        service.close()


def png(seed: int = 0, side: int = 96) -> bytes:
    """An image that each seed gives another."""
    content = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8)
    Image.fromarray(noise).resize((side, side)).save(content, "PNG")
    return content.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def sent(client: TestClient, *files: bytes, query: str = "", **headers: str) -> dict[str, Any]:
    """The answer to files that are to be scored."""
    form = [("files", (f"image-{n}.png", data)) for n, data in enumerate(files)]
    answer = client.post(f"/api/v1/predict{query}", files=form, headers=headers)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value
