"""The page: content in, one HTML file out that needs nothing but itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import pulmospark
from pulmospark.core import files, limits
from pulmospark.report import methods, tables, words
from pulmospark.report.audit_content import Picture
from pulmospark.report.content import Film, ReportContent
from pulmospark.report.figures import draw_all
from pulmospark.report.phantom import say_phantoms
from pulmospark.report.svg import Drawing
from pulmospark.report.text import clean_text

_TEMPLATE = "report.html.j2"
_TOLD_APART = frozenset({"commands", "settings", "libraries"})


def render_report(content: ReportContent) -> str:
    """The report as one HTML document: no script, and nothing fetched from anywhere.

    The same content gives the same text. All text of the content is escaped.
    """
    return _fill(content, draw_all(content))


def write_report(content: ReportContent, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    files.write_text(path, render_report(content))


def _fill(content: ReportContent, drawings: Mapping[str, Drawing]) -> str:
    template = environment().get_template(_TEMPLATE)
    evaluation = content.evaluation
    parts = tuple(total.part for total in content.split.totals)
    exclusions, further = tables.shown_exclusions(content.exclusions)
    page = template.render(
        content=content,
        evaluation=evaluation,
        audits=content.audits,
        drawings=drawings,
        noun=words.film_noun(content),
        notice=pulmospark.NOT_A_MEDICAL_DEVICE,
        version=content.provenance.get("pulmospark", pulmospark.__version__),
        made_at=content.made_at.astimezone(UTC),
        headline=words.headline(content),
        verdict=words.verdict(evaluation),
        warnings=words.warnings(content),
        confidence=words.confidence(evaluation),
        groups=words.groups(content),
        overall=tables.overall_table(evaluation),
        by_class=tables.class_table(evaluation),
        overall_methods=methods.overall_methods(evaluation, content),
        class_methods=methods.class_methods(evaluation, content),
        operating=tables.operating_table(evaluation),
        operating_words=""
        if evaluation.operating is None
        else methods.operating_words(
            evaluation.operating, words.film_noun(content), words.confidence(evaluation)
        ),
        fold_rows=() if content.cross_validation is None else _folds(content),
        level_rows=tables.level_rows(content),
        split_classes=tables.split_table(content.split.by_class, parts),
        split_sources=tables.split_table(content.split.by_source, parts),
        exclusions=exclusions,
        further=further,
        excluded=sum(one.count for one in content.exclusions),
        facts=provenance_facts(content.provenance),
        commands=_commands(content.provenance),
        settings=provenance_settings(content.provenance),
    )
    if content.is_phantom:
        page = say_phantoms(page)
    # Class names come through results that hold them as they were: clean once more.
    cleaned: str = clean_text(page)
    return cleaned


def environment() -> Environment:
    """The templates of all pages, and what they may call."""
    environment = Environment(
        loader=PackageLoader("pulmospark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=words.count,
        duration=words.duration,
        percent=lambda value: words.number(value, "percent"),
        fixed=words.number,
        dash=lambda value: words.DASH if value is None else f"{value:,}",
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


def _data_uri(film: Film | Picture) -> str:
    return f"data:{film.media_type};base64,{base64.b64encode(film.thumbnail).decode('ascii')}"


def _folds(content: ReportContent) -> tuple[tables.FoldRow, ...]:
    cross = content.cross_validation
    return () if cross is None else tables.fold_rows(cross)


def provenance_facts(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Short pieces of provenance as name and value; libraries one by one."""
    facts = {
        key.replace("_", " "): _line(value)
        for key, value in provenance.items()
        if key not in _TOLD_APART and value is not None
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
