"""The notebooks run as they are, but for their size, and are kept without outputs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from docs.pages import EXAMPLES, ROOT

NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
_PATIENTS = 30
_SESSION = """
from pulmospark.spark.session import spark_session
session = spark_session("local[2]")
session.__enter__()
"""
"""what the notebooks share, for a session takes longer to start than they take to run"""


def _cells(path: Path) -> list[nbformat.NotebookNode]:
    """The cells of a notebook; the one that is tagged ``parameters`` asks for fewer patients."""
    cells: list[nbformat.NotebookNode] = nbformat.read(path, as_version=4).cells
    changed = 0
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source, count = re.subn(r"PATIENTS = \d+", f"PATIENTS = {_PATIENTS}", cell.source)
            changed += count
    assert changed == 1
    return cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_has_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.startswith("# ")
    assert "not a medical device" in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).exists(), link
    assert f"notebooks/{path.name}" in (ROOT / "docs/how-to/use-from-python.md").read_text("utf-8")


@pytest.mark.spark
def test_the_notebooks_run(
    shared_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULMOSPARK_WEIGHTS", str(shared_weights))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert len(NOTEBOOKS) == 3
    cells = [new_code_cell(_SESSION)]
    for path in NOTEBOOKS:
        cells += _cells(path)
    folder = tmp_path / "work"
    folder.mkdir()
    client = NotebookClient(
        new_notebook(cells=cells),
        timeout=300,
        startup_timeout=300,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()  # raises what a cell raised, with the cell
    shown = "\n".join(
        output.data["text/html"]
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result" and "text/html" in output.data
    )
    for text in ("Run first", "AuditReport of", "Model squeezenet1_1", "probability of COVID-19"):
        assert text in shown
