"""Notifications of new objects: messages are deleted once their images are committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.config.stream import StreamSettings
from pulmospark.core import stream_limits
from pulmospark.core.errors import InputError, SourceUnavailableError, UsageError
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.notifications import Notifications, check_queue, objects_of
from pulmospark.inference.stream.stored_inbox import StoredInbox
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

FOLDER = StoreUri("s3", "hospital", "in")


@pytest.fixture
def queue(bucket: StoreUri, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue that gets the events of the bucket's ``in/``, as its owner sets it up."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("sqs")
    url: str = client.create_queue(QueueName=bucket.bucket)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    boto3.client("s3").put_bucket_notification_configuration(
        Bucket=bucket.bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "QueueArn": arn["Attributes"]["QueueArn"],
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}},
                }
            ]
        },
    )
    return url


def _left(queue: str) -> int:
    """Messages in the queue, those that are hidden included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def _inbox(queue: str, bucket: StoreUri, taken: tuple[int, ...] = ()) -> StoredInbox:
    folder = bucket / "in"
    return StoredInbox(folder, StreamSettings(), list(taken), Notifications(queue, folder))  # type: ignore[arg-type]


def _listed(inbox: StoredInbox) -> StoredInbox:
    """An inbox whose first listing is over: from now on only notifications speak."""
    inbox.look()
    assert inbox.take(100) == []
    return inbox


def _taken(inbox: StoredInbox, count: int) -> list[Arrival]:
    arrivals: list[Arrival] = []
    for _ in range(20):
        inbox.look()
        arrivals += inbox.take(100)
        if len(arrivals) >= count:
            break
    return arrivals


def test_a_message_goes_when_its_image_is_committed(bucket: StoreUri, queue: str) -> None:
    inbox = _listed(_inbox(queue, bucket))
    names = ["a.png", "b c+ü%20.png", "deep/d.png"]
    for name in names:
        open_store(bucket).put(f"in/{name}", name.encode())
    arrivals = _taken(inbox, 3)
    assert sorted(arrival.uri for arrival in arrivals) == sorted(f"{bucket}in/{n}" for n in names)
    assert _left(queue) == 3
    inbox.settled(arrivals[0])
    assert _left(queue) == 2
    for arrival in arrivals[1:]:
        inbox.settled(arrival)
    assert _left(queue) == 0
    assert inbox.drained


def test_a_message_that_comes_again_is_recognised(
    bucket: StoreUri, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_limits, "STREAM_MESSAGE_HIDDEN_S", 0)
    inbox = _listed(_inbox(queue, bucket))
    open_store(bucket).put("in/a.png", b"one")
    (arrival,) = _taken(inbox, 1)
    for _ in range(3):  # again and again, while it is scored
        inbox.look()
        assert inbox.take(9) == []
    # Killed after the commit: the next process knows it from the tables.
    later = _listed(_inbox(queue, bucket, (arrival.key,)))
    assert _left(queue) == 0
    assert later.drained


def test_an_object_overwritten_while_it_is_scored_is_taken_again(
    bucket: StoreUri, queue: str
) -> None:
    inbox = _listed(_inbox(queue, bucket))
    open_store(bucket).put("in/a.png", b"one")
    (first,) = _taken(inbox, 1)
    open_store(bucket).put("in/a.png", b"other")
    inbox.look()
    assert inbox.take(9) == []
    inbox.settled(first)
    (second,) = inbox.take(9)
    assert second.etag != first.etag
    assert _left(queue) == 1
    inbox.settled(second)
    assert _left(queue) == 0


def test_an_object_replaced_while_it_is_read_keeps_its_message(
    bucket: StoreUri, queue: str
) -> None:
    inbox = _listed(_inbox(queue, bucket))
    open_store(bucket).put("in/a.png", b"one")
    (first,) = _taken(inbox, 1)
    open_store(bucket).put("in/a.png", b"other")
    inbox.give_back(first)
    (second,) = inbox.take(9)
    assert second.etag != first.etag
    inbox.settled(second)
    inbox.look()  # the second message is of an object that has its row
    assert _left(queue) == 0


def test_an_object_that_is_gone_leaves_no_message(bucket: StoreUri, queue: str) -> None:
    inbox = _listed(_inbox(queue, bucket))
    open_store(bucket).put("in/a.png", b"one")
    open_store(bucket).delete("in/a.png")
    inbox.look()
    assert _left(queue) == 0
    assert inbox.drained


def test_strange_messages_stay_and_are_reported_once(bucket: StoreUri, queue: str) -> None:
    client = boto3.client("sqs")
    for body in ("hello", "[]", json.dumps(_event("other-bucket", "in/a.png"))):
        client.send_message(QueueUrl=queue, MessageBody=body)
    inbox = _listed(_inbox(queue, bucket))
    (line,) = inbox.left_out()
    assert "stays in the queue" in line
    assert _left(queue) == 3


def test_no_more_messages_are_held_than_allowed(
    bucket: StoreUri, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_limits, "STREAM_MESSAGES_MAX", 10)
    inbox = _listed(_inbox(queue, bucket))
    for number in range(25):
        open_store(bucket).put(f"in/{number}.png", b"%d" % number)
    inbox.look()
    inbox.look()
    arrivals = inbox.take(100)
    assert len(arrivals) == 10
    for arrival in arrivals:
        inbox.settled(arrival)
    assert len(_taken(inbox, 10)) == 10


def test_a_queue_that_is_not_there_is_a_one_line_error(
    bucket: StoreUri, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_limits, "STORE_PATIENCE_S", 0)
    inbox = _inbox(f"{queue}-none", bucket)
    with pytest.raises(SourceUnavailableError, match="check the queue's address") as caught:
        inbox.look()
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("address", "folder", "message"),
    [
        ("sqs", FOLDER, "is not the URL of a queue"),
        ("https://sqs.eu-west-1.amazonaws.com", FOLDER, "is not the URL of a queue"),
        ("https://me:hidden@host/1/q", FOLDER, "holds a password: remove it"),
        ("https://host/1/q", StoreUri("gs", "b", "in"), "only an inbox in S3"),
        ("https://host/1/q", Path("/inbox"), "only an inbox in S3"),
    ],
)
def test_addresses_that_cannot_be(address: str, folder: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_queue(address, folder)
    assert "hidden" not in caught.value.message


def _event(bucket: str, key: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    place = {"bucket": {"name": bucket}, "object": {"key": quote_plus(key), "size": 3}}
    return {"Records": [{"eventName": name, "s3": place}]}


def test_forms_of_events() -> None:
    event = _event("hospital", "in/a b+c.png")
    uris = (StoreUri("s3", "hospital", "in/a b+c.png"),)
    bridge = {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "hospital"}, "object": {"key": "in/a b+c.png"}},
    }
    minio = _event("hospital", "in/a b+c.png", "s3:ObjectCreated:CompleteMultipartUpload")
    sns = {"Type": "Notification", "Message": json.dumps(event)}
    for form in (event, sns, bridge, minio):
        assert objects_of(json.dumps(form), FOLDER) == uris
    removed = _event("hospital", "in/a.png", "ObjectRemoved:Delete")
    for form in (removed, {"Event": "s3:TestEvent"}, {**bridge, "detail-type": "Object Deleted"}):
        assert objects_of(json.dumps(form), FOLDER) == ()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "7",
        '{"Records": 7}',
        '{"Records": [{"s3": {}}]}',
        '{"Type": "Notification", "Message": 7}',
        "[" * 100_000,
        json.dumps(_event("hospital", "elsewhere/a.png")),
        json.dumps(_event("hospital", "in/" + "x" * 2_000)),
        json.dumps(_event("ho/spital", "in/a.png")),
    ],
)
def test_what_is_no_event_of_this_folder(body: str) -> None:
    with pytest.raises(InputError):
        objects_of(body, FOLDER)


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["Records", "s3", "bucket", "object", "key", "eventName", "detail", "Type"]),
    inner)))  # fmt: skip
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        assert objects_of(json.dumps(value), FOLDER) == ()
    except InputError as error:
        assert "\n" not in error.message
