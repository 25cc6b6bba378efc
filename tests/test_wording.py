"""Words that the project replaces become fewer and never more: see ``wording.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import wording
from wording import TERMS, Term, budget, counts, hits, hits_in, matches, unit, unreleased


def test_no_package_and_no_page_exceeds_its_budget() -> None:
    occurrences = hits()
    allowed = budget()
    over = {
        place: (number, allowed.get(place, 0))
        for place, number in counts(occurrences).items()
        if number > allowed.get(place, 0)
    }
    shown = [
        f"{place}: {number} occurrences, {limit} allowed:\n  "
        + "\n  ".join(str(hit) for hit in occurrences if unit(hit.path) == place)
        for place, (number, limit) in over.items()
    ]
    assert not over, "\n".join(shown)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_pattern_matches_what_it_is_for_and_nothing_else(term: Term) -> None:
    assert term.bad
    for text in term.bad:
        assert list(matches(term, text)), text
    for text in term.good:
        assert not list(matches(term, text)), text


def test_an_occurrence_is_shown_with_its_line_and_a_better_word() -> None:
    (hit,) = hits_in("docs/a.md", "first\nwithout a word\n")
    assert str(hit) == "docs/a.md:2: 'without a word' (without a word): better: silently"


def test_some_terms_are_looked_for_in_some_files_only() -> None:
    assert not list(hits_in("src/pulmospark/imaging/decode_subprocess.py", "a child process"))
    assert list(hits_in("src/pulmospark/data/expand/expand.py", "a child of a row"))
    assert not list(hits_in("docs/a.md", "for one in rows"))


def test_a_package_is_counted_as_one_and_a_page_by_itself() -> None:
    assert unit("src/pulmospark/audit/run.py") == "src/pulmospark/audit"
    assert unit("src/pulmospark/__init__.py") == "src/pulmospark/__init__.py"
    assert unit("docs/how-to/audit.md") == "docs/how-to/audit.md"


def test_only_the_unreleased_part_of_the_changelog_counts() -> None:
    text = unreleased("# Changelog\n\n## [Unreleased]\n- new\n\n## [0.1.0] - 2026\n- old\n")
    assert "new" in text
    assert "old" not in text


def test_writing_lowers_the_budget_and_never_raises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "budget.json"
    monkeypatch.setattr(wording, "BUDGET", path)
    monkeypatch.setattr(sys, "argv", ["wording.py", "--write"])
    one = next(iter(hits_in("docs/a.md", "without a word")))
    monkeypatch.setattr(wording, "hits", lambda: [one])
    path.write_text('{"docs/b.md": 2}')
    assert wording.main() == 0
    assert json.loads(path.read_text()) == {"docs/a.md": 1}
    monkeypatch.setattr(wording, "hits", lambda: [one, one])
    assert wording.main() == 1
    assert json.loads(path.read_text()) == {"docs/a.md": 1}
