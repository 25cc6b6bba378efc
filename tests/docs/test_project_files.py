"""What Git hosts, package indexes and citation tools read fits the project and each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml

from docs.pages import ROOT
from pulmospark import __version__

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _pythons() -> list[str]:
    """The Python versions that the classifiers name."""
    prefix = "Programming Language :: Python :: 3."
    versions = [name for name in PROJECT["project"]["classifiers"] if name.startswith(prefix)]
    return ["3." + version.removeprefix(prefix) for version in versions]


def test_both_ci_files_test_each_python_version_that_the_package_names() -> None:
    github = _yaml(".github/workflows/test.yml")["jobs"]["test"]
    gitlab = _yaml(".gitlab-ci.yml")["test"]
    assert github["strategy"]["matrix"]["python"] == _pythons()
    assert gitlab["parallel"]["matrix"] == [{"PYTHON_VERSION": _pythons()}]
    assert PROJECT["project"]["requires-python"] == f">={_pythons()[0]}"


def test_the_workflow_runs_the_same_command_as_a_person_with_the_least_rights() -> None:
    workflow = _yaml(".github/workflows/test.yml")
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["test"]["steps"]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert len(actions) == 3
    for action in actions:
        assert re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action), action
    scripts = [
        *(step["run"] for step in steps if "run" in step),
        *_yaml(".gitlab-ci.yml")["test"]["script"],
    ]
    assert sum(" make test " in script for script in scripts) == 2


def test_both_ci_files_test_each_spark_that_the_script_names() -> None:
    script = (ROOT / ".ci" / "spark-matrix").read_text(encoding="utf-8")
    (named,) = re.findall(r"^  set -- (.+)$", script, re.MULTILINE)
    sparks = named.split()
    assert [version.rpartition(".")[0] for version in sparks] == ["4.0", "4.1", "4.2", "4.3"]
    github = _yaml(".github/workflows/test.yml")["jobs"]["spark"]
    assert github["strategy"]["matrix"]["spark"] == sparks
    assert _yaml(".gitlab-ci.yml")["spark"]["parallel"]["matrix"] == [{"SPARK_VERSION": sparks}]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"pyspark=={sparks[-1]}" in constraints


def test_pre_commit_runs_what_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    hooks = _yaml(".pre-commit-config.yaml")["repos"][0]["hooks"]
    entries = [hook["entry"].removeprefix("env ").replace(".venv/bin", "$(BIN)") for hook in hooks]
    lines = {line.strip() for line in makefile.splitlines()}
    for entry in entries:
        assert lines & {entry, f"{entry} ."}, entry
    rules = re.findall(r"^(?:lint|types|layers|docs):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [line for rule in rules for line in rule.split("\n") if line.strip()]
    assert len(commands) == len(entries) == 5


def test_the_site_is_built_strictly() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = [line for line in makefile.splitlines() if "mkdocs build" in line]
    assert "--strict" in line
    # mkdocs counts the warnings that it logs, and --quiet logs none
    assert "--quiet" not in line


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = _yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    released = f"## [{__version__}] - {citation['date-released']}"
    assert released in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["bug", "layout", "feature"])
def test_an_issue_form_asks_for_something_and_names_each_answer(name: str) -> None:
    form = _yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids)) >= 3
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_what_a_package_index_shows_has_no_link_into_the_repository() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    text = json.loads(shown.stdout)["readme"]["text"]
    targets = re.findall(r"\]\(([^)\s]*)", text)
    assert len(targets) > 10
    assert [target for target in targets if not re.match(r"https?://", target)] == []
    assert "](docs/" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_source_distribution_names_files_that_there_are() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for name in included:
        assert (ROOT / name.removeprefix("/")).exists(), name
