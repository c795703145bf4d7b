"""Grids by name and folded tables, as the chapters of the part *Experiments* use them."""

import csv
import io
import re
from urllib.parse import unquote

import pytest

from clcore.errors import InputError
from clcore.results import (
    folded_table,
    page_grid,
    records,
    settings,
)

GRID = """
dataset = "digits"
seeds = [0, 1]
[search]
learning_rate = [0.01, 0.1]
seeds = [1000]
holdout = 0.2
[stream]
name = "permuted"
fractions = [1.0]
[network]
name = "mlp"
hidden = [8]
[strategy]
name = "initialized"
[budget]
epochs = 1
batch = 64
"""


def downloaded(text):
    """Return the rows of the file that the link holds, as a browser would decode it."""
    name, address = re.search(
        r'<a download="(.+?)" href="data:text/csv;charset=utf-8,(.*?)"', text
    ).groups()
    return name, list(csv.reader(io.StringIO(unquote(address))))


def test_the_table_and_its_file_say_the_same():
    rows = [["a, b", 1.23456, None], ['"c" | d', 2.0, "3"]]
    text = folded_table("Fold", ["name", "value ± β", "n"], rows, "t.csv")
    name, read = downloaded(text)
    assert name == "t.csv"
    assert read == [["name", "value ± β", "n"], ["a, b", "1.23", ""], ['"c" | d', "2.00", "3"]]
    lines = text.splitlines()
    assert lines[0] == "::::{dropdown} Fold"
    assert lines[1:5] == [
        "| name | value ± β | n |",
        "| --- | --- | --- |",
        "| a, b | 1.23 |  |",
        r'| "c" \| d | 2.00 | 3 |',
    ]


def test_a_row_that_does_not_fit():
    with pytest.raises(InputError, match="1 cells: give one for each of 2 columns"):
        folded_table("Fold", ["a", "b"], [["x"]], "t.csv")


def test_the_quick_profile_reads_and_the_full_one_trains(tmp_path, monkeypatch):
    store = tmp_path / "results"
    store.mkdir()
    (store / "small.toml").write_text(GRID)
    monkeypatch.setenv("CLCORE_RESULTS", str(store))
    grid, folder = page_grid("small")
    assert folder == store / "digits"
    assert [s.record for s in settings(grid, folder)] == [None]
    grid, folder = page_grid("small", "full")
    assert folder == tmp_path / "_build" / "records"
    assert len(list(folder.iterdir())) == 3
    (found,) = records(grid, folder)
    assert found.accuracy.shape == (2, 2, 2)
    path = folder / f"{found.name}.json"
    path.write_text(path.read_text().replace(found.provenance["code"], "0ld"))
    (again,) = records(*page_grid("small", "full"))
    assert again.provenance["code"] == found.provenance["code"], "of other code: trained again"
    monkeypatch.setattr("clcore.results.extend.write", None)  # recording again would fail
    page_grid("small", "full")
    monkeypatch.setattr("clcore.results.pages.data_version", lambda name: None)
    assert page_grid("small", "full")[1] == store / "digits"


def test_a_grid_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CLCORE_RESULTS", str(tmp_path))
    with pytest.raises(InputError, match=r"nothing\.toml"):
        page_grid("nothing")
