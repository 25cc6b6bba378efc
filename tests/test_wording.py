"""Words that the project replaces by the field's own: see ``wording.py``."""

from __future__ import annotations

import pytest

from wording import TERMS, Term, hits, hits_in, matches, unreleased


def test_the_words_of_the_field_are_used_everywhere() -> None:
    assert not list(map(str, hits()))


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


def test_only_the_unreleased_part_of_the_changelog_counts() -> None:
    text = unreleased("# Changelog\n\n## [Unreleased]\n- new\n\n## [0.1.0] - 2026\n- old\n")
    assert "new" in text
    assert "old" not in text
