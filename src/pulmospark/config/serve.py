"""Settings of the service."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from pulmospark.config.base import Names
from pulmospark.config.inference import Allowances
from pulmospark.core import serve_limits

Port = Annotated[int, Field(ge=0, le=65_535)]


class ServeSettings(Allowances):
    """How the service is reached, and what it keeps."""

    host: str = "127.0.0.1"
    """address to listen on; any other than a loopback address needs a token"""
    port: Port = 8000
    """0: any free one"""
    hosts: Names = ()
    """further names by which clients reach the service (``Host`` header), such as that of a proxy
    in front of it"""
    token_file: Path | None = None
    """file with a line ``NAME:TOKEN`` for each client; ``None``: no token, on loopback only"""
    admin_token_file: Path | None = None
    """as ``token_file``, for those who may exchange the model; ``None``: nobody may"""
    tls_cert: Path | None = None
    """certificate chain, PEM"""
    tls_key: Path | None = None
    """its key, PEM"""
    runs: Path | None = None
    """folder of runs that the page can browse"""
    inputs: tuple[Path, ...] = ()
    """folders whose images and tables batch jobs may score"""
    bundles: Path | None = None
    """folder of bundles that may be taken up in place of the served one"""
    state: Path
    """folder of ledger, stored images, jobs and audit log"""
    workers: Annotated[int, Field(ge=1, le=serve_limits.SERVE_WORKERS_MAX)] | None = None
    """threads that decode and score, each with its own network; ``None``: one for each core"""
    stored_bytes: Annotated[int, Field(ge=0)] = serve_limits.SERVE_STORED_BYTES
    """bytes of stored images; the oldest go first"""
    results_kept: Annotated[int, Field(ge=1)] = serve_limits.SERVE_RESULTS_KEPT
    """results in the worklist; the oldest go first, the ledger keeps its line of each"""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.is_local and self.token_file is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines: give --token-file, or "
                "listen on 127.0.0.1"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("a certificate needs its key: give both --tls-cert and --tls-key")
        return self


def is_loopback(host: str) -> bool:
    """Whether an address or name to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
