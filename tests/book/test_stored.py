"""The executed notebooks in the repository: of their sources, and worth comparing."""

import re
from pathlib import Path

import nbformat
import pytest

from tools.book import DEFAULTS
from tools.layout import Layout
from tools.notebooks import read_source

LAYOUT = Layout(Path(__file__).parents[2])
SOURCES = LAYOUT.sources()


def stored(stem):
    path = LAYOUT.stored / f"{stem}.ipynb"
    assert path.exists(), f"{path.name} is not in notebooks/: run `make record`"
    return nbformat.read(path, as_version=4)


def compared(notebook):
    """Return the outputs that validation compares."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            yield from cell.outputs


def test_there_are_notebooks_and_each_has_a_source():
    assert SOURCES
    orphans = {path.stem for path in LAYOUT.stored.glob("*.ipynb")} - {s.stem for s in SOURCES}
    assert not orphans, f"run `make record`: no source for {sorted(orphans)}"


def content(notebook):
    return [(one.cell_type, one.source, dict(one.metadata)) for one in notebook.cells]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_stored_notebook_is_of_its_source(source):
    assert content(stored(source.stem)) == content(read_source(source)), (
        f"notebooks/{source.stem}.ipynb is not of book/{source.name}: run `make record`"
    )


def test_a_changed_source_is_noticed(tmp_path):
    copy = tmp_path / SOURCES[0].name
    copy.write_text(SOURCES[0].read_text() + "\nOne more sentence.\n")
    assert content(stored(copy.stem)) != content(read_source(copy))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_parameters_have_the_standard_names_and_defaults(source):
    cells = [
        cell for cell in read_source(source).cells if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(cells) <= 1
    for cell in cells:
        assigned: dict[str, object] = {}
        exec(cell.source, {}, assigned)
        assert assigned.items() <= DEFAULTS.items()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_validation_has_numbers_to_compare(source):
    text = str([out.get("text") or out.get("data") for out in compared(stored(source.stem))])
    assert re.search(r"\d", re.sub(r"(?s)<\?xml.*?</svg>", "", text))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_warnings_or_errors_are_stored(source):
    for cell in stored(source.stem).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"cell {cell.id} writes to stderr: {output.text}"
