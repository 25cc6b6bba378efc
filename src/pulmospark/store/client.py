"""Opens obstore's client of a bucket: credentials, retries and time limits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pulmospark.core import limits
from pulmospark.core.errors import PlatformError
from pulmospark.core.extras import how_to_install
from pulmospark.store.credentials import open_options, plain_http
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig


def open_client(bucket: StoreUri) -> ObjectStore:
    """The client of a bucket; no request is made yet.

    Raises:
        PlatformError: obstore is missing, or the credentials' files cannot be used.
    """
    try:
        from obstore import store  # noqa: PLC0415
    except ImportError as error:
        raise PlatformError(
            f"{bucket}: object stores need obstore: {how_to_install('store')}"
        ) from error
    retry: RetryConfig = {
        "max_retries": limits.STORE_RETRIES,
        "retry_timeout": timedelta(seconds=limits.STORE_SECONDS_MAX),
    }
    client: ClientConfig = {
        "read_timeout": timedelta(seconds=limits.STORE_SILENCE_S_MAX),
        # By default 30 s with the body, in which no large part gets through a slow line.
        "timeout": timedelta(seconds=limits.STORE_SECONDS_MAX),
        "allow_http": plain_http(bucket.scheme),
    }
    if bucket.scheme == "s3":
        options: Any = open_options()
        return store.S3Store(
            bucket.bucket, config=options, client_options=client, retry_config=retry
        )
    if bucket.scheme == "gs":
        return store.GCSStore(bucket.bucket, client_options=client, retry_config=retry)
    container, _, account = bucket.bucket.partition("@")
    return store.AzureStore(
        container,
        config={"account_name": account.partition(".")[0]},
        client_options=client,
        retry_config=retry,
    )
