"""Runs the service: opens the model while the server starts, and ends in good order."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from pulmospark.config.serve import ServeSettings
from pulmospark.core import serve_limits
from pulmospark.core.errors import PlatformError, PulmosparkError, UsageError
from pulmospark.core.files import disk_errors
from pulmospark.core.locks import hold_lock
from pulmospark.serve.access import Access
from pulmospark.serve.app import create_app
from pulmospark.serve.jobs import Jobs
from pulmospark.serve.protocol import BoundedProtocol
from pulmospark.serve.service import Service
from pulmospark.serve.tokens import Tokens, read_tokens


def serve(bundle: Path, settings: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve a bundle until a signal ends the process.

    Args:
        bundle: its folder, or that of the run that trained it.
        settings: of the service.
        say: gets a line when the service listens, and when the model is open.

    Raises:
        UsageError: the port is taken, or a file of tokens or of TLS cannot be used.
        BundleError: the bundle is missing or damaged.
        PlatformError: no space, or no right to write to the state folder.
    """
    access = Access.of(
        settings,
        _tokens(settings.token_file),
        _tokens(settings.admin_token_file),
    )
    with disk_errors(settings.state):
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_lock(settings.state / "lock", settings.state, writer="service"):
        _serve(bundle, settings, access, say)


def _serve(
    bundle: Path, settings: ServeSettings, access: Access, say: Callable[[str], None]
) -> None:
    service = Service(settings)
    jobs = Jobs(service)
    app = create_app(service, access, jobs)
    server = _Server(_config(settings, app), lambda url: say(f"serve: {url}"))
    failures: list[PulmosparkError] = []

    def open_first() -> None:
        try:
            model = service.open_model(bundle)
            say(f"serve: ready with {model.facts.name} {model.facts.digest[:12]}")
        except PulmosparkError as error:
            failures.append(error)
            server.should_exit = True

    opening = threading.Thread(target=open_first, name="open-model", daemon=True)
    opening.start()
    try:
        server.run()
    finally:
        opening.join()
        jobs.close()
        service.close()
    if failures:
        raise failures[0]
    if server.problem is not None:
        raise server.problem


def _tokens(path: Path | None) -> Tokens | None:
    return None if path is None else read_tokens(path)


def _config(settings: ServeSettings, app: FastAPI) -> uvicorn.Config:
    if settings.tls_cert is not None:
        _check_tls(settings)
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=serve_limits.SERVE_CONNECTIONS_MAX,
        timeout_keep_alive=int(serve_limits.SERVE_HEADER_SECONDS_MAX),
        timeout_graceful_shutdown=serve_limits.SERVE_STOP_SECONDS_MAX,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _check_tls(settings: ServeSettings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: not usable: {error}"
        ) from error


class _Server(uvicorn.Server):
    """Reports its address, and keeps the reason why it cannot listen instead of exiting."""

    def __init__(self, config: uvicorn.Config, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._say = say
        self.problem: UsageError | PlatformError | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Of uvicorn, which would raise the signal again, before jobs and ledger are closed."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Of uvicorn."""
        try:
            await super().startup(sockets)  # type: ignore[arg-type]
        except SystemExit:
            place = f"{self.config.host}:{self.config.port}"
            self.problem = UsageError(f"{place}: cannot listen there: choose another --port")
            self.should_exit = True
            return
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            scheme = "https" if self.config.is_ssl else "http"
            self._say(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
