"""What each audit says of a fault, of none, and of too little to go by: every word and figure.

The expected results lie in ``audit_results.json``, so that a change of a sentence, a threshold or
a figure is seen as a change of that file. Where a change is meant::

    PULMOSPARK_UPDATE_EXPECTED=1 python -m pytest tests/audit/test_audit_results.py

writes the file anew; its difference is read before it is kept. That the figures are right is
tested elsewhere, against references.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from audit import model_cases, subgroup_cases
from audit.data_cases import CASES
from pulmospark.audit.results import AuditResult

EXPECTED = Path(__file__).with_name("audit_results.json")
_UPDATE = "PULMOSPARK_UPDATE_EXPECTED"
assert model_cases and subgroup_cases  # they add their cases


def _told(result: AuditResult) -> dict[str, Any]:
    told = result.model_dump(mode="json", exclude_defaults=True)
    for example in told.get("examples", ()):
        for image in example["images"]:
            del image["image_id"], image["source"]
    rounded: dict[str, Any] = json.loads(
        json.dumps(told), parse_float=lambda text: round(float(text), 6)
    )
    return rounded


@pytest.mark.parametrize("name", CASES)
def test_an_audit_says_what_is_expected(name: str, tmp_path: Path) -> None:
    found = _told(CASES[name](tmp_path))
    expected = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.is_file() else {}
    if os.environ.get(_UPDATE):
        kept = {key: expected[key] for key in CASES if key in expected} | {name: found}
        EXPECTED.write_text(_lines(kept), encoding="utf-8")
        return
    assert set(expected) == set(CASES)
    wanted = expected[name]
    assert _strings(found) == _strings(wanted)
    assert _numbers(found) == pytest.approx(_numbers(wanted), rel=1e-4, abs=1e-5)


def _lines(results: dict[str, Any]) -> str:
    """JSON with a line for each field, figure and example."""
    cases = []
    for name, fields in sorted(results.items()):
        lines = []
        for key, value in sorted(fields.items()):
            if isinstance(value, list):
                rows = ",\n   ".join(json.dumps(one, ensure_ascii=False) for one in value)
                lines.append(f'  "{key}": [\n   {rows}\n  ]')
            else:
                lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
        cases.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(cases) + "\n}\n"


def _strings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strings(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_strings(one) for one in value]
    return "a number" if isinstance(value, float) else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in _numbers(value[key])]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, float) else []
