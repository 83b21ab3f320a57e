"""The tutorial runs from the first cell to the last, and its page shows what it gives."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import secateur

DOCS = Path(__file__).resolve().parent.parent / "docs"
WRITTEN = nbformat.read(DOCS / "tutorial.ipynb", 4)
CODE = [cell for cell in WRITTEN.cells if cell.cell_type == "code"]


# The kernel is told to listen on this machine alone; whether it encrypts that is its own affair.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:RuntimeWarning")
def test_every_cell_runs_and_gives_what_is_shown():
    ran = nbformat.from_dict(WRITTEN.copy())
    folder = {"metadata": {"path": str(DOCS)}}
    NotebookClient(ran, timeout=300, resources=folder).execute()
    cells = [cell for cell in ran.cells if cell.cell_type == "code"]
    for now, shown in zip(cells, CODE, strict=True):
        kinds = [output.output_type for output in now.outputs]
        assert kinds == [output.output_type for output in shown.outputs], now.source
        assert "error" not in kinds
        assert [columns(output) for output in now.outputs] == [
            columns(output) for output in shown.outputs
        ], now.source


def columns(output: nbformat.NotebookNode) -> list[str]:
    """Return the heads of the tables in an output: its figures are those of a machine."""
    return re.findall(
        r'<th scope="col"[^>]*>([^<]*)', "".join(output.get("data", {}).get("text/html", ""))
    )


def test_it_shows_every_step():
    text = "\n".join(cell.source for cell in CODE)
    for name in (
        "load", "find_groups", "open_dataset", "evaluate", "analyze", "prune", "summarize",
        "find_examples", "save", "compare", "save_report",
    ):  # fmt: skip
        assert f"secateur.{name}(" in text
        assert hasattr(secateur, name)


def test_outputs_name_no_folder_of_a_machine():
    shown = "".join(str(output) for cell in CODE for output in cell.outputs)
    assert shown
    assert not re.search(r"/(home|root|tmp|work|Users)/", shown)
