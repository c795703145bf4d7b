"""The pinned packages fit what pyproject.toml declares, and their licences are listed."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licenses import CONSTRAINTS, LICENSES, license_of, pins, table

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = pins(CONSTRAINTS)


def declared() -> list[Requirement]:
    project = PYPROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    lists.append(PYPROJECT["build-system"]["requires"])  # the project is built without isolation
    found = [Requirement(line) for one in lists for line in one]
    return [one for one in found if one.name != project["name"]]


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_each_package_is_pinned_in_its_range(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert name in PINS, f"compile constraints.txt again, as CONTRIBUTING.md says: no {name}"
    assert requirement.specifier.contains(PINS[name])


def test_everything_is_pinned_by_hash_and_nothing_else_is_said() -> None:
    """No address of an index, no path, no option: those are the machine's own."""
    text = CONSTRAINTS.read_text()
    entries = re.split(r"\n(?! )", text.strip())
    assert len(entries) == len(PINS) > 100
    hashed = r"[a-z0-9-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+"
    assert [entry[:60] for entry in entries if not re.fullmatch(hashed, entry)] == []


def test_what_is_published_and_each_change_is_built_from_the_pins() -> None:
    """The weekly run is not: there the newest packages show what they break."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
    for name in ("test", "site"):
        given = workflow["jobs"][name]["env"]["CONSTRAINTS"]
        assert "github.event_name != 'schedule'" in given
        assert "'constraints.txt' || ''" in given
    assert "schedule" in workflow["jobs"]["publish"]["if"]
    assert "$(CONSTRAINTS)" in (ROOT / "Makefile").read_text()


def test_the_licence_of_each_is_listed() -> None:
    rows = re.findall(
        r"^\| ([a-z0-9-]+) \| (\S*\d\S*) \| (.+) \|$", LICENSES.read_text(), re.MULTILINE
    )
    assert {name: version for name, version, _ in rows} == PINS, "run python -m tools.licenses"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "MIT", "license": "no"}, "MIT"),
        ({"license": "BSD\n\nCopyright ..."}, "BSD"),
        (
            {
                "license": "see file",
                "classifier": [
                    "License :: OSI Approved",
                    "License :: OSI Approved :: MIT License",
                    "Topic :: Software Development",
                ],
            },
            "MIT License",
        ),
        ({}, "not stated in its metadata"),
    ],
)
def test_a_licence_is_what_the_metadata_state(metadata: dict[str, object], expected: str) -> None:
    assert license_of(metadata) == expected
    row = table([{"name": "Some_Package", "version": "1.0", **metadata}]).splitlines()[-1]
    assert row == f"| some-package | 1.0 | {expected} |"
