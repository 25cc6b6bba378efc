"""moto's S3 server on loopback, with conditional writes that are atomic, as a store's are.

moto looks whether a condition holds, and then writes: of two writers at the same moment both may
be told that theirs was first. Here conditional requests go in turn.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_CONDITIONS = {"HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"}


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Serve in threads of this process; yields the address."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    server = make_server(
        "127.0.0.1",
        0,
        in_turn(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


def in_turn(application: Application) -> Application:
    """An application to which conditional requests come one after the other."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not _CONDITIONS & environ.keys():
            return application(environ, start_response)
        # Whole before its turn: a client that is slow, or gone, makes no other wait.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with lock:
            return application(environ, start_response)

    return answer
