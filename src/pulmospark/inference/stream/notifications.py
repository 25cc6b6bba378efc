"""Notifications about new objects: S3's events in SQS, or in a queue of that protocol.

A message is deleted only when the images that it names have been committed. One that arrives
twice, or late, does no harm: its objects are recognised.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from pulmospark.core import stream_limits as limits
from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError, UsageError
from pulmospark.core.extras import how_to_install
from pulmospark.core.safe_text import first_line
from pulmospark.layouts.notes import printable
from pulmospark.store.patience import patiently
from pulmospark.store.uri import StoreUri, parse_uri

_AWS = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_RECEIVED_MAX = 10
"""messages of one request, the most that SQS gives"""
_REQUESTS = 10
_WAIT_S = 1


@dataclass
class Message:
    """A message that was received and not deleted."""

    id: str
    receipt: str
    """what it is deleted by; each delivery has another"""
    uris: tuple[StoreUri, ...]
    """objects that it names"""
    pending: set[int] = field(default_factory=set)
    """keys of its objects that have no row yet"""


class Notifications:
    """The messages of one queue about one folder.

    Args:
        queue: URL of the queue.
        folder: in S3.

    Raises:
        UsageError: the URL is not one, or the folder is not in S3.
        PlatformError: boto3 is not installed, or finds no credentials.
    """

    def __init__(self, queue: str, folder: StoreUri) -> None:
        check_queue(queue, folder)
        self._queue, self._folder = queue, folder
        self._client = _client(queue)
        self._held: dict[str, Message] = {}  # id -> message
        self._waiting: dict[int, set[str]] = {}  # key of an object -> ids of its messages
        self._unreported: list[str] = []
        self._strange = 0

    def receive(self) -> list[Message]:
        """Messages that have arrived; waits a second for the first.

        Raises:
            SourceUnavailableError: the queue fails for longer than a stream waits for it.
        """
        messages: list[Message] = []
        for _ in range(_REQUESTS):
            if len(self._held) + len(messages) >= limits.STREAM_MESSAGES_MAX:
                break
            wait_s = 0 if messages or self._held else _WAIT_S
            received = patiently(lambda wait_s=wait_s: self._receive(wait_s))  # type: ignore[misc]
            for raw in received:
                if (message := self._read(raw)) is not None:
                    messages.append(message)
            if len(received) < _RECEIVED_MAX:
                break
        return messages

    def holds(self, message: Message, pending: set[int]) -> None:
        """Keep a message until its objects have their rows; delete it if they have.

        Args:
            message: as received.
            pending: keys of its objects that have no row yet.
        """
        if not pending:
            self._delete(message)
            return
        message.pending = pending
        self._held[message.id] = message
        for key in pending:
            self._waiting.setdefault(key, set()).add(message.id)

    def settled(self, key: int) -> None:
        """Record that an object has its row."""
        for name in self._waiting.pop(key, ()):
            message = self._held[name]
            message.pending.discard(key)
            if not message.pending:
                del self._held[name]
                self._delete(message)

    def replaced(self, key: int, by: int | None) -> None:
        """Record that an object was overwritten, or removed, before it had a row."""
        if by is None:
            self.settled(key)
            return
        for name in self._waiting.pop(key, ()):
            self._held[name].pending ^= {key, by}
            self._waiting.setdefault(by, set()).add(name)

    def left_out(self) -> list[str]:
        """What is not reported yet, one line each."""
        lines, self._unreported = self._unreported, []
        return lines

    def _receive(self, wait_s: int) -> list[dict[str, Any]]:
        answer = self._request(
            "receive_message",
            MaxNumberOfMessages=_RECEIVED_MAX,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=limits.STREAM_MESSAGE_HIDDEN_S,
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _read(self, raw: dict[str, Any]) -> Message | None:
        """A message, or ``None`` if it is not about this folder: it stays in the queue."""
        try:
            uris = objects_of(raw["Body"], self._folder)
        except InputError as error:
            self._strange += 1
            if self._strange == 1:
                self._unreported.append(
                    f"{self._queue}: a message {error.message}; it stays in the queue, as do "
                    "further such messages"
                )
            return None
        return Message(raw["MessageId"], raw["ReceiptHandle"], uris)

    def _delete(self, message: Message) -> None:
        try:
            self._request("delete_message", ReceiptHandle=message.receipt)
        except SourceUnavailableError as error:
            # It arrives again, and its objects are recognised.
            self._unreported.append(error.message)

    def _request(self, name: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            answer: dict[str, Any] = getattr(self._client, name)(QueueUrl=self._queue, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise SourceUnavailableError(
                f"{self._queue}: {first_line(error)}: check the queue's address and rights, and "
                "rerun the command"
            ) from None
        return answer


def check_queue(queue: str, folder: object) -> None:
    """Check the address of a queue.

    Args:
        queue: as given.
        folder: the inbox.

    Raises:
        UsageError: it is not the URL of a queue, holds a password, or the inbox is not in S3.
    """
    address = urlsplit(queue)
    if address.username or address.password:
        raise UsageError("--notifications: the URL holds a password: remove it")
    if address.scheme not in {"http", "https"} or not address.hostname or not address.path[1:]:
        raise UsageError(
            f"--notifications {queue!r:.200}: is not the URL of a queue: give https://sqs..."
        )
    if not isinstance(folder, StoreUri) or folder.scheme != "s3":
        raise UsageError(f"--notifications: {folder}: only an inbox in S3 has them: omit it")


def objects_of(body: str, folder: StoreUri) -> tuple[StoreUri, ...]:
    """Objects below a folder whose creation a message reports.

    Args:
        body: an event of S3, as such, in a notification of SNS, or an event of EventBridge.
        folder: in S3.

    Raises:
        InputError: it is none of these, or about another folder.
    """
    if len(body) > limits.STREAM_MESSAGE_BYTES_MAX:
        raise InputError(f"has more than {limits.STREAM_MESSAGE_BYTES_MAX:,} bytes")
    try:
        event = json.loads(body)
        if event.get("Type") == "Notification":
            event = json.loads(event["Message"])
        if event.get("Event") == "s3:TestEvent":
            return ()
        if "detail" in event:
            created = event["detail-type"] == "Object Created"
            names = [(event["detail"]["bucket"]["name"], event["detail"]["object"]["key"])]
            named = names if created else []
        else:
            named = [
                (record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]))
                for record in event["Records"]
                if record["eventName"].removeprefix("s3:").startswith("ObjectCreated:")
            ]
        uris = tuple(parse_uri(f"s3://{bucket}/{key}", error=InputError) for bucket, key in named)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError("is no event of S3") from None
    for uri in uris:
        if uri.bucket != folder.bucket or not uri.key.startswith(folder.prefix):
            raise InputError(f"is about {printable(str(uri))!r:.200}, outside {folder}")
    return uris


def _client(queue: str) -> Any:
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError as error:
        raise PlatformError(
            f"--notifications needs boto3: {how_to_install('sqs')}, or omit it: the inbox is then "
            "listed"
        ) from error
    address = urlsplit(queue)
    region = _AWS.fullmatch(address.hostname or "")
    try:
        # Credentials and region are found where AWS's own tools look for them.
        return boto3.client(
            "sqs",
            endpoint_url=f"{address.scheme}://{address.netloc}",
            region_name=region[1] if region else None,
            config=Config(retries={"max_attempts": 5, "mode": "standard"}, read_timeout=30),
        )
    except BotoCoreError as error:
        raise PlatformError(f"--notifications {queue}: {first_line(error)}: set it up") from None
