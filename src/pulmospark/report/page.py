"""The page: content in, one HTML file out that needs nothing but itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import pulmospark
from pulmospark.core import files, formatting, limits
from pulmospark.report import methods, numbers, phrasing, tables
from pulmospark.report.audit_content import Picture
from pulmospark.report.content import ExampleImage, ReportContent
from pulmospark.report.exports import write_exports
from pulmospark.report.figures import draw_all
from pulmospark.report.phantom_wording import phantom_words
from pulmospark.report.safe_text import clean_text
from pulmospark.report.svg import Drawing

_SHOWN_APART = frozenset({"commands", "settings", "libraries"})


def render_report(content: ReportContent) -> str:
    """The report as one HTML document: no script, and nothing fetched from anywhere.

    The same content gives the same text. All text of the content is escaped.
    """
    return page_of(content, draw_all(content))


def write_report(content: ReportContent, path: Path, predictions: Iterable[Path] = ()) -> None:
    """Write the report, and the folder of files for a paper where the content names one.

    Page and folder each appear atomically.

    Args:
        content: of the report.
        path: the HTML file.
        predictions: Parquet parts of the predictions, for the folder.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    drawings = draw_all(content)
    if content.figures_folder:
        write_exports(content, drawings, predictions, path.with_name(content.figures_folder))
    files.write_text(path, page_of(content, drawings))


def page_of(content: ReportContent, drawings: Mapping[str, Drawing]) -> str:
    """The report with the drawings that are given: see :func:`render_report`."""
    evaluation, cross = content.evaluation, content.cross_validation
    parts = tuple(total.part for total in content.split.totals)
    exclusions, further = tables.shown_exclusions(content.exclusions)
    level, noun = numbers.confidence(evaluation), phrasing.image_noun(content)
    return fill(
        "report.html.j2",
        content.is_phantom,
        content.made_at,
        content=content,
        evaluation=evaluation,
        audits=content.audits,
        drawings=drawings,
        version=content.provenance.get("pulmospark", pulmospark.__version__),
        correct=phrasing.classified_correctly(evaluation),
        tested=phrasing.tested_on(content),
        verdict=phrasing.verdict(evaluation),
        warnings=phrasing.warnings(content),
        confidence=level,
        groups=phrasing.groups(content),
        overall=tables.overall_table((evaluation,)),
        by_class=tables.class_table(evaluation),
        overall_methods=methods.overall_methods(evaluation, content),
        class_methods=methods.class_methods(evaluation, content),
        operating=tables.operating_table((evaluation,)),
        operating_words=""
        if evaluation.operating is None
        else methods.operating_words(evaluation.operating, noun, level),
        fold_rows=() if cross is None else tables.fold_rows(cross),
        level_rows=tables.level_rows(content),
        split_classes=tables.split_table(content.split.by_class, parts),
        split_sources=tables.split_table(content.split.by_source, parts),
        exclusions=exclusions,
        further=further,
        excluded=sum(exclusion.count for exclusion in content.exclusions),
        facts=provenance_facts(content.provenance),
        commands=_commands(content.provenance),
        settings=provenance_settings(content.provenance),
    )


def fill(template: str, is_phantom: bool, made_at: datetime, **values: Any) -> str:
    """A page from its template, and from what every page shows.

    Args:
        template: name of the file.
        is_phantom: whether the images are phantoms; sentences then say so.
        made_at: when, with a time zone.
        values: what the template shows.
    """
    page = (
        environment(is_phantom)
        .get_template(template)
        .render(
            **{
                "is_phantom": is_phantom,
                "noun": "phantom" if is_phantom else "image",
                "patient": "synthetic patient" if is_phantom else "patient",
                "notice": pulmospark.NOT_A_MEDICAL_DEVICE,
                "version": pulmospark.__version__,
                "made_at": made_at.astimezone(UTC),
                **values,
            }
        )
    )
    # Class names come through results that hold them as they were: clean once more.
    cleaned: str = clean_text(page)
    return cleaned


def environment(is_phantom: bool = False) -> Environment:
    """The templates of all pages, and what they may call.

    Args:
        is_phantom: whether ``said``, the filter of sentences from other parts of the program,
            speaks of phantoms and synthetic patients.
    """
    environment = Environment(
        loader=PackageLoader("pulmospark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=numbers.count,
        ci=numbers.with_ci,
        duration=formatting.duration,
        percent=lambda value: numbers.number(value, "percent"),
        fixed=numbers.number,
        interval=numbers.interval,
        shown_value=numbers.shown_value,
        dash=lambda value: numbers.DASH if value is None else f"{value:,}",
        said=phantom_words if is_phantom else str,
        code=_code,
        data_uri=_data_uri,
        svg=_svg,
    )
    environment.globals["examples_max"] = limits.REPORT_EXAMPLES_MAX
    return environment


def _svg(drawing: Drawing) -> Markup:
    """The SVG as it is: made here by an XML writer, which escaped the text in it."""
    return Markup(drawing.svg)


def _code(text: str) -> Markup:
    """Text whose pieces between backticks are code; all of it is escaped."""
    pieces = str(escape(text)).split("`")
    return Markup("".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces)))


def _data_uri(image: ExampleImage | Picture) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.thumbnail).decode('ascii')}"


def provenance_facts(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Short pieces of provenance as name and value; libraries one by one."""
    facts = {
        key.replace("_", " "): _line(value)
        for key, value in provenance.items()
        if key not in _SHOWN_APART and value is not None
    }
    libraries = provenance.get("libraries")
    if isinstance(libraries, Mapping):
        facts |= {str(name): _line(version) for name, version in libraries.items()}
    return tuple(facts.items())


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _commands(provenance: Mapping[str, Any]) -> str:
    commands = provenance.get("commands", ())
    return commands if isinstance(commands, str) else "\n".join(map(str, commands))


def provenance_settings(provenance: Mapping[str, Any]) -> str:
    """The settings of a provenance as indented JSON; empty where it has none."""
    settings = provenance.get("settings")
    if not settings:
        return ""
    return json.dumps(settings, indent=2, ensure_ascii=False, default=str)
