"""What a stream is asked to do, checked before any expensive work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulmospark.config.inference import PrecisionPolicy
from pulmospark.config.stream import StreamSettings
from pulmospark.core.errors import InputError
from pulmospark.core.locations import check_local
from pulmospark.core.provenance import provenance
from pulmospark.inference.batch.scorer import with_heat_maps
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.explain.files import FOLDER as HEAT_FOLDER
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.stream.folders import Where, check_places
from pulmospark.inference.stream.inbox import Inbox
from pulmospark.inference.stream.notifications import Notifications
from pulmospark.inference.stream.output import check_output, work_folder
from pulmospark.inference.stream.scorer import FolderSample, stream_scorer
from pulmospark.inference.stream.store import StreamStore
from pulmospark.inference.stream.stored_inbox import StoredInbox
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import absolute
from pulmospark.models.bundle.bundle import Bundle, read_bundle


@dataclass(frozen=True)
class StreamPlan:
    """A stream, checked as far as possible without Spark."""

    bundle: Bundle
    inbox: Where
    target: Where
    settings: StreamSettings
    precision: PrecisionPolicy
    sample: Path | None
    """folder of images to check a lower precision on; ``None``: the inbox"""
    notifications: str | None = None
    """URL of a queue that reports new objects of the inbox; ``None``: it is listed"""

    def identity(self) -> dict[str, Any]:
        """What all rows have in common."""
        return {"model_id": self.bundle.model_id}

    def record(self) -> dict[str, Any]:
        """The record written to the output's folder."""
        settings = {
            "bundle": str(self.bundle.folder),
            "inbox": printable(str(self.inbox)),
            **self.settings.model_dump(mode="json"),
        }
        return {"classes": self.bundle.config.classes, "provenance": provenance(settings)}

    def scorer(self) -> tuple[Scorer, PrecisionOutcome]:
        """Prepare the engine; takes seconds for the first stream into a folder."""
        sample = FolderSample(self.sample or self.inbox, self.bundle.config.ingest)
        work = work_folder(self.target)
        scorer, precision = stream_scorer(self.bundle, work, self.precision, sample)
        if (kinds := self.settings.heat_maps) is not None:
            engines, folder = work / "engines", self.target / HEAT_FOLDER
            scorer = with_heat_maps(scorer, self.bundle, engines, kinds, target=folder)
        return scorer, precision

    def opened_inbox(self, store: StreamStore) -> Inbox | StoredInbox:
        """The inbox, without what an earlier stream took."""
        taken = store.state.taken()
        if isinstance(self.inbox, Path):
            return Inbox(self.inbox, self.settings, taken)
        queue = self.notifications
        heard = None if queue is None else Notifications(queue, self.inbox)
        return StoredInbox(self.inbox, self.settings, taken, heard)


def plan_stream(
    bundle: Where,
    inbox: str,
    target: Where,
    settings: StreamSettings | None = None,
    *,
    precision: PrecisionPolicy = "auto",
    sample: Path | None = None,
    notifications: str | None = None,
) -> StreamPlan:
    """Check a stream before any expensive work.

    Args:
        bundle: folder of the bundle, or its address in a store.
        inbox: folder, or its address in a store, that images land in.
        target: folder of the output, or its address in a store.
        settings: of the stream.
        precision: of the network's arithmetic; below float32 only if a check passes.
        sample: folder with images like those that will land, for that check; ``None``: the
            images in the inbox at the start.
        notifications: URL of an SQS queue that receives the events of an inbox in S3; ``None``:
            the inbox is listed.

    Raises:
        BundleError: the bundle is missing or damaged.
        UsageError: ``target`` is not a stream's output or belongs to another bundle, another
            stream writes to it, or one folder contains the other.
        InputError: ``inbox`` or ``sample`` is not a folder on this machine.
        SourceUnavailableError: a store fails.
    """
    folder, out = check_places(inbox, target, notifications)
    settings = settings or StreamSettings()
    if sample is not None and not (sample := absolute(check_local(sample))).is_dir():
        raise InputError(f"--sample {sample}: no such folder: name one with images")
    plan = StreamPlan(
        bundle=read_bundle(bundle),
        inbox=folder,
        target=out,
        settings=settings,
        precision=precision,
        sample=sample,
        notifications=notifications,
    )
    check_output(out, plan.identity())
    return plan
