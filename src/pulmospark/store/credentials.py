"""Where credentials and endpoints of stores are found: the places that each cloud's tools use.

Environment variables, instance and container roles, web identities and Google's credential files
are obstore's own. This module adds the shared files of AWS (``~/.aws``). Nothing read here is ever
logged, stored or part of an error.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from pulmospark.core.errors import PlatformError

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "abfss": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""variables with the address of a store of one's own"""
_NEEDS_MORE = ("role_arn", "sso_session", "sso_start_url", "credential_process")
_OTHER_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""where one of these is set, AWS's own tools do not look into the files, unless a profile is
named"""


def s3_config(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Settings for S3 that obstore does not find by itself.

    Args:
        environ: the environment; ``AWS_PROFILE``, ``AWS_SHARED_CREDENTIALS_FILE`` and
            ``AWS_CONFIG_FILE`` have the meaning that AWS gives them.
            ``AWS_S3_FORCE_PATH_STYLE=false`` asks for the bucket as a part of the host's name;
            without an endpoint of one's own that is the default.
        home: the user's folder.

    Raises:
        PlatformError: the named profile is missing, or needs a sign-in that only AWS's own
            tools perform.
    """
    settings = _from_files(environ, home)
    if endpoint := environ.get("AWS_ENDPOINT_URL_S3"):
        settings["endpoint"] = endpoint
    if settings.get("endpoint") or environ.get("AWS_ENDPOINT_URL") or environ.get("AWS_ENDPOINT"):
        by_path = environ.get("AWS_S3_FORCE_PATH_STYLE", "true").lower() != "false"
        settings["virtual_hosted_style_request"] = "false" if by_path else "true"
    return settings


def plain_http(scheme: str, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the store's endpoint was explicitly given as ``http://``, as on loopback."""
    environ = os.environ if environ is None else environ
    of_file = open_options(environ).get("endpoint") if scheme == "s3" else None
    variables = (environ.get(name) for name in _ENDPOINTS[scheme])
    endpoint = of_file or next(filter(None, variables), "")
    return endpoint.lower().startswith("http://")


def _from_files(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    profile = environ.get("AWS_PROFILE")
    if profile is None and any(environ.get(name) for name in _OTHER_SOURCES):
        return {}
    name = profile or "default"
    credentials = _section(
        Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"), name
    )
    config = _section(
        Path(environ.get("AWS_CONFIG_FILE") or home / ".aws/config"),
        name if name == "default" else f"profile {name}",
    )
    settings = {**config, **credentials}
    if profile is not None and not settings:
        raise PlatformError(
            f"AWS_PROFILE={profile}: there is no such profile in ~/.aws: correct the variable"
        )
    if more := next((key for key in _NEEDS_MORE if key in settings), None):
        raise PlatformError(
            f'AWS profile {name}: uses {more}, for which a sign-in is needed: run `eval "$(aws '
            'configure export-credentials --format env)"` first'
        )
    chosen = {key: settings[name] for name, key in _KEYS.items() if settings.get(name)}
    if environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        chosen.pop("region", None)
    return chosen


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, configparser.Error) as error:
        # Not the parser's own message: it quotes the line, which may hold a secret.
        raise PlatformError(
            f"{path}: cannot be read as a file of AWS profiles ({type(error).__name__}): correct "
            "it, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    return dict(parser[name]) if parser.has_section(name) else {}


def open_options(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """:func:`s3_config` for this process's environment and user."""
    environ = os.environ if environ is None else environ
    return s3_config(environ, Path(environ.get("HOME") or "/"))
