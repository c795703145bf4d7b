"""The grids of CUB-200, from the original layout of a made set to records and the ledger."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clcore import results
from clcore.errors import InputError

GRIDS = Path(__file__).parents[2] / "results"
CLASSES, TRAINED, JUDGED = 20, 3, 2  # 2 classes for each of the 10 tasks


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data root with a small set in the layout of CUB_200_2011."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "CUB_200_2011"
    draws = np.random.default_rng(3)
    lines: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "train_test_split")
    }
    for number in range(CLASSES * (TRAINED + JUDGED)):
        label, place = number % CLASSES, number // CLASSES
        name = f"{label + 1:03d}.Bird/bird_{number:04d}.jpg"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (70, 66, 3), dtype=np.uint8)).save(path)
        lines["images"].append(f"{number + 1} {name}")
        lines["image_class_labels"].append(f"{number + 1} {label + 1}")
        lines["train_test_split"].append(f"{number + 1} {int(place < TRAINED)}")
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return root


def small(name: str) -> dict[str, Any]:
    """Return a grid's content with a small network and budget, the paper's strategies, two tasks.

    So narrow a network made torch crash on images of this size, where its shortcuts stepped.
    """
    content = tomllib.loads((GRIDS / f"{name}.toml").read_text())
    assert content["network"]["width"] == 64
    content["network"]["width"] = 4
    content["budget"] |= {"epochs": 1, "learning_rate": 0.1}
    wanted = ("initialized", "frozen", "hybrid")
    content["strategy"] = [s for s in content["strategy"] if s["name"] in wanted]
    del content["search"]
    return content | {"seeds": [0, 1], "tasks": 2}


@pytest.mark.parametrize("name", ["cub200", "corrupted-cub200"])
def test_from_the_original_layout_to_records(name: str, data: Path, tmp_path: Path) -> None:
    grid = results.parse_grid(small(name))
    for (spec,) in grid.reported:
        results.recorded(spec, folder=tmp_path, data=data)
    found = results.records(grid, tmp_path)
    assert [r.accuracy.shape for r in found] == [(2, 2, 2)] * len(grid.reported)
    steps = {round(100 * a) for r in found for a in r.accuracy[~np.isnan(r.accuracy)]}
    # 4 images a task are judged, of classes that only this task has.
    assert steps <= {0, 25, 50, 75, 100}
    moved = found[0].drift
    assert (moved > 0).all()
    frozen = next(r for r in found if r.spec["strategy"]["name"] == "frozen")
    assert (frozen.drift[:, 1:, :-1] == 0).all()


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(v) for v in value) + "]"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("name", "benchmark"), [("cub200", "split-cub200"), ("corrupted-cub200", "corrupted-cub200")]
)
def test_records_reach_the_ledger_and_the_tables(
    name: str, benchmark: str, data: Path, tmp_path: Path
) -> None:
    content = small(name)
    (tmp_path / f"{name}.toml").write_text(
        "".join(f"{key} = {as_toml(value)}\n" for key, value in content.items())
    )
    grid = results.read_grid(tmp_path / f"{name}.toml")
    ledger = results.read_ledger()
    streams = {s for s, table in ledger.streams.items() if table["grid"] == name}
    claims = tuple(c for c in ledger.claims if c.check.get("streams") == [*streams])
    assert claims
    ledger = ledger._replace(claims=claims)
    paper = results.read_paper()[benchmark]

    def told() -> tuple[list[results.Verdict], set[object]]:
        rows = results.beside(paper, results.settings(grid, tmp_path))
        return results.verdicts(ledger, tmp_path), {row[2] for row in rows}

    found, cells = told()
    assert {v.verdict for v in found} == {"not testable here"}
    assert all("data not at hand" in text for v in found for text in v.missing)
    assert cells == {"data not at hand"}
    for (spec,) in grid.reported:
        results.recorded(spec, folder=tmp_path, data=data)
    found, cells = told()
    assert "not testable here" not in {v.verdict for v in found}
    assert all(v.effects and not v.missing for v in found)
    assert all(isinstance(cell, float) for cell in cells)


@pytest.mark.parametrize("name", ["cub200", "corrupted-cub200"])
def test_without_the_data_it_says_how_to_get_them(name: str, tmp_path: Path) -> None:
    (spec,) = results.parse_grid(small(name)).reported[0]
    with pytest.raises(InputError, match=r"CUB_200_2011\.tgz"):
        results.recorded(spec, folder=tmp_path, data=tmp_path)
    assert not list(tmp_path.glob("*.json"))
