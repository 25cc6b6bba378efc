"""Class mapping: which finding goes to which class."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pulmospark.core.errors import ClassError
from pulmospark.data.cohort.class_mapping import map_findings

_TEXT = st.text(alphabet="aAbB*?[]!-/ :,é", min_size=1, max_size=8)
_PLAIN = st.text(alphabet="abcAB/ -", min_size=1, max_size=8)


def _has_blank(findings: list[tuple[str, str]]) -> bool:
    return any(not text.strip() for _, text in findings)


@given(st.lists(st.tuples(_PLAIN, _TEXT), max_size=6))
@example([("a", " ")])
def test_without_classes_each_finding_is_its_own(findings: list[tuple[str, str]]) -> None:
    if _has_blank(findings):
        with pytest.raises(ClassError, match="it is blank"):
            map_findings(findings, {})
        return
    assert map_findings(findings, {}) == {pair: pair[1] for pair in findings}


@given(_TEXT)
def test_exact_text_matches_whatever_characters_it_has(finding: str) -> None:
    mapped = map_findings([("s", finding)], {"x": [finding]})
    assert mapped["s", finding] == "x"


@given(_PLAIN, _PLAIN)
def test_case_does_not_count(finding: str, pattern: str) -> None:
    upper = map_findings([("s", finding)], {"x": [pattern.upper()]})
    lower = map_findings([("s", finding)], {"x": [pattern.lower()]})
    assert upper == lower


@given(_PLAIN, st.text(alphabet="abAB*?/", min_size=1, max_size=6))
def test_wildcards_are_those_of_the_shell(finding: str, pattern: str) -> None:
    expected = fnmatch.fnmatchcase(finding.casefold().strip(), pattern.casefold().strip())
    found = map_findings([("s", finding)], {"x": [pattern]})["s", finding]
    assert (found == "x") == expected


@given(st.lists(st.tuples(_PLAIN, _TEXT), max_size=6), st.dictionaries(_PLAIN, st.lists(_TEXT)))
def test_every_finding_is_mapped_or_claimed_twice(
    findings: list[tuple[str, str]], classes: dict[str, list[str]]
) -> None:
    try:
        mapped = map_findings(findings, classes)
    except ClassError as error:
        assert "\n" not in error.message
        assert len(classes) > 1 or (not classes and _has_blank(findings))
        return
    assert set(mapped) == set(findings)
    if classes:
        assert set(mapped.values()) <= {*classes, None}


def test_a_pattern_of_one_source() -> None:
    pairs = [("nih", "Infiltration"), ("other", "Infiltration")]
    mapped = map_findings(pairs, {"pneumonia": ["NIH:infil*"], "normal": ["No Finding"]})
    assert mapped == {pairs[0]: "pneumonia", pairs[1]: None}


def test_a_colon_may_stand_in_a_finding() -> None:
    assert map_findings([("s", "Stage: 2")], {"x": ["stage: 2"]}) == {("s", "Stage: 2"): "x"}


def test_two_claims_name_finding_and_classes() -> None:
    with pytest.raises(ClassError, match=r"'Pneumonia/Viral'.*'src'.*'viral' and 'pneumonia'"):
        map_findings([("src", "Pneumonia/Viral")], {"viral": ["*viral"], "pneumonia": ["pneu*"]})
