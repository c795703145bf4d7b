"""Nothing that the package or its tools read or write is a pickle, which can run any code.

Records are JSON, the cache of images an archive of plain arrays. One thing is a pickle by others:
CIFAR's batches. torchvision opens them, only after their MD5 sums; `tests/test_bad_inputs.py` has
one with code in it, which is not run. (Processes of one run send each other pickles, as
multiprocessing and Dask do: those are no files.)
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"read_pickle", "to_pickle", "pickle_load"}


def pickling(source: str) -> list[str]:
    """Return what in a program reads or writes pickles."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
                found.append(module)
            case ast.ImportFrom(module="torch" | "torch.serialization", names=names):
                found += [f"torch.{n.name}" for n in names if n.name in ("load", "save")]
            case ast.Call(func=func, keywords=keywords):
                given = {k.arg: k.value for k in keywords}
                called = ast.unparse(func)
                if called in ("torch.load", "torch.hub.load") and not is_true(
                    given.get("weights_only")
                ):
                    found.append(f"{called} without weights_only=True")
                if "allow_pickle" in given and not is_false(given["allow_pickle"]):
                    found.append(f"{called} with allow_pickle")
                if called.rpartition(".")[2] in CALLS or called == "torch.save":
                    found.append(called)
    return found


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_no_pickles() -> None:
    files = [file for folder in ("clcore", "tools") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    found = {str(f.relative_to(ROOT)): pickling(f.read_text(encoding="utf-8")) for f in files}
    assert {file: what for file, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import joblib as j",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "from torch import load",
        "import torch\ntorch.save(1, 'x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=given)",
        "import pandas as pd\npd.read_pickle('x')",
    ],
)
def test_a_pickle_is_noticed(source: str) -> None:
    assert pickling(source)


def test_what_is_safe_passes() -> None:
    safe = (
        "import torch, numpy\ntorch.load(f, weights_only=True)\nnumpy.load(f, allow_pickle=False)"
    )
    assert pickling(safe) == []
