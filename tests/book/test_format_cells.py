"""Formatting touches the code cells of a source and nothing else."""

from tests.book.made import PARAMETERS, cell, write_notebook
from tools.format_cells import format_source
from tools.layout import Layout


def test_only_cells_change(tmp_path):
    text = "Prose with `x = {'a':1}` and\n\n```python\ny = {'b':2}\n```\n\n"
    source = write_notebook(
        Layout(tmp_path),
        "page",
        PARAMETERS,
        text,
        cell("z = {'c':3}\nz;"),
        cell("import os, sys\n\nos, sys"),
    )
    before = source.read_text()
    assert format_source(source)
    expected = before.replace("{'c':3}", '{"c": 3}').replace(
        "import os, sys", "import os\nimport sys"
    )
    assert source.read_text() == expected
    assert not format_source(source)
