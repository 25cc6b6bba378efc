"""The page of the REST interface, from its OpenAPI description."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_words import first_paragraph, markdown, sayings, table

from pulmospark.config.serve import ServeSettings
from pulmospark.serve import responses
from pulmospark.serve.access import Access
from pulmospark.serve.app import create_app
from pulmospark.serve.jobs import Jobs
from pulmospark.serve.service import Service

_ORDER = ("predict", "results", "images", "jobs", "model", "runs", "status")
_PROTOCOL = "open inference protocol"


def rest_page() -> str:
    """Every route, its parameters and answers."""
    description = _description()
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            by_tag.setdefault(route["tags"][0], []).append((method.upper(), path, route))
    parts = [
        "# REST\n",
        "What `pulmospark serve` answers; `/openapi.json` is the same for programs. "
        "[Serve a bundle](../how-to/serve.md) shows how to start it.\n",
        "An error is a status of 400 or above with "
        '`{"error": {"kind": ..., "message": ...}}`; the message names the value, the limit and '
        "the remedy. Every answer has `X-Request-Id`, which is also in the ledger and the audit "
        "log. Where the service has tokens, send `Authorization: Bearer TOKEN`.\n",
    ]
    tags = [*_ORDER, _PROTOCOL, *sorted(by_tag.keys() - {*_ORDER, _PROTOCOL})]
    for tag in tags:
        routes = by_tag.get(tag, [])
        if routes:
            parts.append(f"## {tag.capitalize()}\n")
        for method, path, route in routes:
            parts += _route(method, path, route)
    parts.append("## Answers\n")
    parts += _answers()
    return "\n".join(parts)


def _description() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = ServeSettings(state=Path(folder))
        service = Service(settings)
        jobs = Jobs(service)
        try:
            return create_app(service, Access.of(settings, None, None), jobs).openapi()
        finally:
            jobs.close()
            service.close()


def _route(method: str, path: str, route: dict[str, Any]) -> Iterator[str]:
    text = " ".join(route.get("description", "").split())
    yield f"### {method} {path}\n\n{markdown(text)}\n"
    rows = [
        (f"`{given['name']}`", given["in"], _kind(given["schema"]), given.get("description", ""))
        for given in route.get("parameters", ())
    ]
    if rows:
        yield table(("parameter", "in", "type", "meaning"), rows)
    content = route.get("requestBody", {}).get("content", {})
    for kind, body in content.items():
        yield f"Body: `{kind}`{_named(body['schema'])}.\n"
    for status, answer in route["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        if status.startswith("2") and "$ref" in schema:
            yield f"Answer: {status}{_named(schema)}.\n"


def _named(schema: dict[str, Any]) -> str:
    if "$ref" not in schema:
        return ", field `files`" if "files" in schema.get("properties", {}) else ""
    name = schema["$ref"].rpartition("/")[2]
    return f", [`{name}`](#{name.lower()})" if hasattr(responses, name) else f", `{name}`"


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(
            _kind(option) for option in schema["anyOf"] if option.get("type") != "null"
        )
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    words = {"boolean": "`true` or `false`", "integer": "whole number", "number": "number"}
    text = words.get(schema.get("type", ""), "text")
    default = f"; default `{str(schema['default']).lower()}`" if schema.get("default") else ""
    return text + default


def _answers() -> Iterator[str]:
    for name, kind in vars(responses).items():
        is_model = isinstance(kind, type) and issubclass(kind, responses.BaseModel)
        if not is_model or kind in {responses.BaseModel, responses.Answer}:
            continue
        meanings = sayings(kind)
        rows = [
            (f"`{field.alias or place}`", meanings.get(place, ""))
            for place, field in kind.model_fields.items()
        ]
        yield f"### {name}\n\n{first_paragraph(kind)}\n\n{table(('field', 'meaning'), rows)}"
