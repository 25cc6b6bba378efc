"""An S3 server in a process of its own, with one bucket: our light one, or moto's.

    python -m benchmarks.object_server moto        prints its port

The light one answers after the delay that it is given; moto's checks more of what it is asked,
and is slow.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

from obstore.store import S3Store

from benchmarks.common import python

BUCKET = "hospital"
SERVERS = ("light", "moto")
_KEYS = {
    "AWS_ACCESS_KEY_ID": "of-a-benchmark",
    "AWS_SECRET_ACCESS_KEY": "of-a-benchmark",
    "AWS_REGION": "us-east-1",
}


class Bucket:
    """The bucket, reached directly.

    Attributes:
        endpoint: of the server.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._store = S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True})

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._store.put(key, data)

    def keys(self, prefix: str) -> list[str]:
        """Of the objects in a folder; "": of all."""
        pages = self._store.list(prefix or None)
        return [str(entry["path"]) for page in pages for entry in page]

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._store.delete(key)


@contextlib.contextmanager
def bucket_of(server: str, delay_ms: float = 0.0) -> Iterator[Bucket]:
    """An empty bucket; the environment has its keys, but no endpoint.

    Args:
        server: one of :data:`SERVERS`.
        delay_ms: to the first byte of an answer of the light one.
    """
    light = python("-m", "benchmarks.s3_server", str(delay_ms))
    command = light if server == "light" else python("-m", "benchmarks.object_server", server)
    # In a session of its own: what is killed is killed by groups of processes.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
            os.environ |= _KEYS
            if server == "moto":
                made = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
                urllib.request.urlopen(made).close()
            yield Bucket(endpoint)
        finally:
            process.kill()


def main() -> None:
    """Serve moto's until the process is ended."""
    from benchmarks.moto_server import moto_server

    with moto_server() as endpoint:
        sys.stdout.write(f"{endpoint.rpartition(':')[2]}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
