"""The grids of CUB-200, from the original layout of a made set to records and the ledger."""

import tomllib
from pathlib import Path

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


def small(name: str) -> results.Grid:
    """Return a grid with a small network and budget, the paper's strategies and two tasks.

    So narrow a network made torch crash on images of this size, where its shortcuts stepped.
    """
    content = tomllib.loads((GRIDS / f"{name}.toml").read_text())
    assert content["network"]["width"] == 64
    content["network"]["width"] = 4
    content["budget"] |= {"epochs": 1, "learning_rate": 0.1}
    wanted = ("initialized", "frozen", "hybrid")
    content["strategy"] = [s for s in content["strategy"] if s["name"] in wanted]
    del content["search"]
    return results.parse_grid(content | {"seeds": [0, 1], "tasks": 2})


@pytest.mark.parametrize("name", ["cub200", "corrupted-cub200"])
def test_from_the_original_layout_to_records(name: str, data: Path, tmp_path: Path) -> None:
    grid = small(name)
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


@pytest.mark.parametrize("name", ["cub200", "corrupted-cub200"])
def test_without_the_data_it_says_how_to_get_them(name: str, tmp_path: Path) -> None:
    (spec,) = small(name).reported[0]
    with pytest.raises(InputError, match=r"CUB_200_2011\.tgz"):
        results.recorded(spec, folder=tmp_path, data=tmp_path)
    assert not list(tmp_path.glob("*.json"))
