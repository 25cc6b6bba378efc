"""What the report shows of the audits: their results, with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict

from pulmospark.audit.duplicate_pairs import CSV
from pulmospark.audit.results import AuditReport, AuditResult, Verdict
from pulmospark.evaluation.results import Result
from pulmospark.report.safe_text import Text, clean_text


class Picture(Result):
    """An image next to another."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    thumbnail: bytes
    media_type: Literal["image/jpeg"] = "image/jpeg"
    name: Text
    """of the file, without its folders"""
    source: Text
    label: Text | None
    part: Text | None


class Pictures(Result):
    """Images side by side."""

    caption: Text
    images: tuple[Picture, ...]


class ShownAudit(Result):
    """One audit and its pictures."""

    result: AuditResult
    pictures: tuple[Pictures, ...] = ()


class Audits(Result):
    """All audits, worst first."""

    shown: tuple[ShownAudit, ...]
    skipped: tuple[Text, ...] = ()
    costly_left_out: tuple[Text, ...] = ()
    near_copies: int | None = None
    """pairs in the table of near copies; ``None``: there is none"""
    near_copies_table: str = ""
    """the table's CSV, relative to the page"""

    def count(self, verdict: Verdict) -> int:
        """Audits with a verdict."""
        return sum(audit.result.verdict == verdict for audit in self.shown)

    @property
    def others(self) -> tuple[ShownAudit, ...]:
        """The audits that the plot of the shortcut checks does not show."""
        return tuple(audit for audit in self.shown if audit.result.shortcut is None)

    @property
    def remedies(self) -> tuple[AuditResult, ...]:
        """The shortcut checks that warn or fail: each has a remedy."""
        results = (audit.result for audit in self.shown)
        return tuple(result for result in results if result.shortcut is not None and result.remedy)


class AuditPage(Result):
    """A page of audits alone."""

    title: Text
    made_at: datetime
    is_phantom: bool
    images: int
    audits: Audits
    provenance: Annotated[dict[str, Any], BeforeValidator(clean_text)]


def shown(report: AuditReport, thumbnails: Mapping[str, bytes], *, folder: str = "") -> Audits:
    """Results with the pictures of their examples; an image without a thumbnail is excluded.

    Args:
        report: the audits.
        thumbnails: path of an image -> PNG or JPEG.
        folder: of the audits' tables, relative to the page, with a slash at its end.
    """
    return Audits(
        shown=tuple(
            ShownAudit(result=audit, pictures=_pictures(audit, thumbnails))
            for audit in report.audits
        ),
        skipped=report.skipped,
        costly_left_out=report.costly_left_out,
        near_copies=report.near_copies,
        near_copies_table=f"{folder}{CSV}",
    )


def _pictures(audit: AuditResult, thumbnails: Mapping[str, bytes]) -> tuple[Pictures, ...]:
    return tuple(
        Pictures(
            caption=example.caption,
            images=tuple(
                Picture(
                    thumbnail=thumbnails[image.uri],
                    name=PurePath(image.uri).name,
                    source=image.source,
                    label=image.label,
                    part=image.part,
                )
                for image in example.images
                if image.uri in thumbnails
            ),
        )
        for example in audit.examples
    )
