"""What deltalake needs to reach a table in a store."""

from __future__ import annotations

from typing import Any

from pulmospark.core.errors import PlatformError
from pulmospark.core.extras import how_to_install
from pulmospark.store.credentials import open_options, plain_http
from pulmospark.store.uri import StoreUri


def storage_options(uri: StoreUri) -> dict[str, str]:
    """As deltalake takes them: what it does not find in the environment itself."""
    if uri.scheme != "s3":
        return {}
    options: dict[str, Any] = {f"aws_{key}": value for key, value in open_options().items()}
    if plain_http(uri.scheme):
        options["aws_allow_http"] = "true"
    return {**options, "aws_conditional_put": "etag"}


def check_delta(place: object) -> None:
    """Check that deltalake is installed.

    Args:
        place: of the table, for the message.

    Raises:
        PlatformError: it is not.
    """
    try:
        import deltalake  # noqa: F401, PLC0415 - 129 MB, of an extra
    except ImportError as error:
        raise PlatformError(
            f"{place}: versions of Delta tables need deltalake: {how_to_install('store')}"
        ) from error
