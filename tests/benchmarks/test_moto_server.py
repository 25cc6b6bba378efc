"""Conditional requests to the tests' server are atomic."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.moto_server import in_turn


def test_only_one_of_many_conditional_writers_wins() -> None:
    written: list[bytes] = []

    def looks_and_then_writes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        del start_response
        there = bool(written)
        time.sleep(0.01)  # in which others look, too
        if there:
            return [b"412"]
        written.append(environ["wsgi.input"].read())
        return [b"200"]

    application = in_turn(looks_and_then_writes)

    def put(number: int) -> bytes:
        body = str(number).encode()
        request = {
            "HTTP_IF_NONE_MATCH": "*",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body + b" of the next request"),
        }
        return b"".join(application(request, None))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(put, range(16)))
    assert answers.count(b"200") == 1
    assert written == [str(answers.index(b"200")).encode()]


def test_others_do_not_wait_for_them() -> None:
    inside = ThreadPoolExecutor(1)

    def asks_another(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_MATCH" not in environ:
            return [b"plain"]
        return inside.submit(application, {"REQUEST_METHOD": "GET"}, start_response).result(10)

    application = in_turn(asks_another)
    request = {"HTTP_IF_MATCH": '"etag"', "wsgi.input": io.BytesIO()}
    with inside:
        assert list(application(request, None)) == [b"plain"]
