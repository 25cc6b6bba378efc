"""What the pages say works: links lead somewhere, settings parse, commands exist."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from docs.pages import (
    EXAMPLES,
    PAGES,
    ROOT,
    Found,
    anchors,
    arguments,
    blocks,
    commands,
    links,
    modules,
)
from pulmospark.cli.main import COMMANDS, FLAGS, cli
from pulmospark.config.experiment import Experiment, read_experiment
from pulmospark.config.parse import parse
from pulmospark.layouts import registry
from pulmospark.models.zoo import networks


@pytest.mark.parametrize("link", links(), ids=str)
def test_every_relative_link_leads_to_a_page_and_a_heading(link: Found) -> None:
    name, _, anchor = link.text.partition("#")
    target = (link.page.parent / name).resolve() if name else link.page
    assert target.exists(), f"{link}: there is no {target}"
    if anchor:
        assert anchor in anchors(target), f"{link}: {target.name} has no such heading"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_every_module_that_a_page_names_is_there(module: Found) -> None:
    roots = (ROOT, ROOT / "src" / "pulmospark")
    assert any(list(root.glob(module.text)) for root in roots), f"{module}: there is none"


def test_every_page_is_reached_from_the_readme() -> None:
    pages = {page.resolve() for page in PAGES}
    reached: set[Path] = set()
    waiting = {ROOT / "README.md"}
    leads = [(link.page.resolve(), link) for link in links()]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for home, link in leads:
            target = (home.parent / link.text.partition("#")[0]).resolve()
            if home == page and target in pages - reached:
                waiting.add(target)
    assert pages - reached == {(ROOT / "docs" / "index.md").resolve()}


def _experiment(values: dict[str, Any], where: str) -> Experiment:
    # A page may show one section; the sources, which alone have no default, are then added.
    return parse(Experiment, {"sources": [{"path": "images"}], **values}, where=where)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_toml_block_is_an_experiment(block: Found) -> None:
    _check_names(_experiment(tomllib.loads(block.text), str(block)))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_is_an_experiment(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    assert Path(str(experiment.out)).resolve() == ROOT / "runs"  # which git ignores
    _check_names(experiment)


def _check_names(experiment: Experiment) -> None:
    networks.check_size(experiment.train.model, experiment.ingest.size)
    for source in experiment.sources:
        if source.layout is not None:
            registry.find(source.layout).check_options(source.options)


@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_line_is_one_that_there_is(command: Found) -> None:
    given = [one for one in arguments(command.text) if one not in FLAGS]
    if given in (["--help"], ["--version"]):
        return
    name, *rest = given
    assert name in COMMANDS, f"{command}: there is no command {name}"
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    # Parsing refuses options and values that there are not; nothing is run.
    if rest and "--help" not in rest:
        found.make_context(name, rest)


def test_the_pages_hold_commands_and_settings_at_all() -> None:
    named = {arguments(command.text)[0] for command in commands()}
    assert named >= {"run", "ingest", "split", "train", "evaluate", "report", "predict"}
    assert len(blocks("toml")) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_one_title_and_closes_its_blocks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0
    assert len([a for a in text.split("```")[::2] for b in a.splitlines() if b[:2] == "# "]) == 1
