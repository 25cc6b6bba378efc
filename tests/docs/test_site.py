"""The hooks of the documentation's site: links out of ``docs/``, and parts of other hosts."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from docs.pages import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("docs/how-to/dicom.md", "../../examples/a.toml", "../repository/examples/a.toml"),
        ("docs/tutorial.md", "../README.md#more", "repository/README.md#more"),
        ("README.md", "docs/how-to/dicom.md#a", "../how-to/dicom.md#a"),
        ("benchmarks/README.md", "../docs/design.md", "../../design.md"),
        ("CONTRIBUTING.md", "CHANGELOG.md", "CHANGELOG.md"),
        ("docs/design.md", "reference/limits.md", "reference/limits.md"),
        ("docs/design.md", "https://example.org/a", "https://example.org/a"),
        ("docs/design.md", "#audits", "#audits"),
    ],
)
def test_a_link_leads_to_the_copy_below_repository(
    hooks: ModuleType, page: str, link: str, expected: str
) -> None:
    assert hooks.relink(f"see [this]({link}).", ROOT / page) == f"see [this]({expected})."


def test_code_is_left_as_it_is(hooks: ModuleType) -> None:
    text = "```text\n[a](../README.md)\n```\n[a](../README.md)\n"
    assert hooks.relink(text, ROOT / "docs" / "tutorial.md") == (
        "```text\n[a](../README.md)\n```\n[a](repository/README.md)\n"
    )


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/a.js"></script>',
        "<link rel=stylesheet href=//example.org/a.css>",
        '<img alt="a"\n src="http://example.org/a.png">',
    ],
)
def test_what_another_host_would_be_asked_for_is_noticed(hooks: ModuleType, html: str) -> None:
    assert hooks.foreign_parts(html) == [html.removesuffix("</script>")]


@pytest.mark.parametrize(
    "html",
    ['<a href="https://example.org">a</a>', '<script src="assets/a.js">', '<img src="a//b.png">'],
)
def test_links_and_own_files_are_none(hooks: ModuleType, html: str) -> None:
    assert hooks.foreign_parts(html) == []
