"""The files that state the same thing agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tools.set_up import MINIMUM

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements():
    """Return {package: version specifier} over dependencies and extras."""
    lists = [PROJECT["dependencies"], *EXTRAS.values()]
    pairs = [re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(.*)", line) for one in lists for line in one]
    return {pair[1]: pair[2] for pair in pairs} | {"python": PROJECT["requires-python"]}


def test_conda_environment_is_the_one_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    assert f"python{PROJECT['requires-python']}" in plain
    assert set(plain) <= {f"python{PROJECT['requires-python']}", "pip", "make"}
    pip = next(line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    extra = re.fullmatch(r"-e \.\[(\w+)\]", pip[0])
    assert len(pip) == 1
    assert extra[1] in EXTRAS


def readme_versions():
    table = (ROOT / "README.md").read_text().partition("## Versions")[2].partition("## ")[0]
    return dict(re.findall(r"^\| ([\w-]+) \| ([^|]*\d[^|]*) \|$", table, flags=re.MULTILINE))


def test_readme_names_the_versions_of_pyproject():
    assert {"python", "torch", "torchvision", "numpy", "jupyter-book"} <= readme_versions().keys()
    assert readme_versions().items() <= requirements().items()


def test_the_oldest_python_is_stated_alike():
    assert PROJECT["requires-python"] == f">={MINIMUM[0]}.{MINIMUM[1]}"
    assert f"Python ≥ {MINIMUM[0]}.{MINIMUM[1]}" in (ROOT / "README.md").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
    tested = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested[0] == f"{MINIMUM[0]}.{MINIMUM[1]}"


def test_citation_credits_the_paper_and_has_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    paper = citation["references"][0]
    assert [author["family-names"] for author in paper["authors"]] == ["He", "Bai", "Yang"]
    assert paper["url"].endswith("2602.20796")


@pytest.mark.parametrize("path", ["README.md", "book/run-it-yourself.md"])
def test_targets_that_the_pages_name_exist(path):
    text = (ROOT / path).read_text()
    named = set(re.findall(r"(?:`|^ {4}|^)make ([a-z]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"book", "test"} <= named <= targets


def test_paths_that_the_readme_names_exist():
    table = (ROOT / "README.md").read_text().partition("## What is where")[2].partition("## ")[0]
    paths = re.findall(r"`([\w./-]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)))
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
