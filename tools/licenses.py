"""Write LICENSES.md, the licences of all that is in constraints.txt: `python -m tools.licenses`.

They come from the packages' own metadata, which pip reads; nothing is installed.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
LICENSES = ROOT / "LICENSES.md"
OLDEST_PIP = 25
HEAD = """\
# Licences of what the book is built with

The packages of `constraints.txt` and the licences that their own metadata state. `python -m
tools.licenses` writes this list. None of them is part of this repository; `pip` fetches them. Those
of NVIDIA come with torch's CUDA build alone.

| package | version | licence |
|---|---|---|
"""


def pins(constraints: Path) -> dict[str, str]:
    """Return the version of each package that `constraints` pins."""
    text = constraints.read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def license_of(metadata: dict[str, Any]) -> str:
    """Return the licence that a package's metadata state: one line."""
    if stated := metadata.get("license_expression"):
        return str(stated)
    found = [
        line.rpartition(" :: ")[2]
        for line in metadata.get("classifier", [])
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    text = str(metadata.get("license", "")).strip()
    if not found and text:
        found = [text.splitlines()[0].strip()]
    return ", ".join(found).replace("|", "/") or "not stated in its metadata"


def report(wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Return the metadata of packages, as pip reports them without an installation."""
    with tempfile.TemporaryDirectory() as folder:
        listed, found = Path(folder, "pins.txt"), Path(folder, "report.json")
        listed.write_text("\n".join(f"{name}=={version}" for name, version in wanted.items()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
        command += ["--ignore-installed", "--report", str(found), "--requirement", str(listed)]
        subprocess.run(command, check=True)
        content = json.loads(found.read_text(encoding="utf-8"))
    return [item["metadata"] for item in content["install"]]


def table(packages: list[dict[str, Any]]) -> str:
    """Return the page."""
    rows = []
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package["name"]).lower()
        number = package["version"].partition("+")[0]  # without the name of a local build
        rows.append(f"| {name} | {number} | {license_of(package)} |")
    rows.sort()
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write the list; return the exit status."""
    if int((pip := version("pip")).partition(".")[0]) < OLDEST_PIP:
        print(f"pip {pip} reads no licence expressions: python -m pip install --upgrade pip")
        return 1
    LICENSES.write_text(table(report(pins(CONSTRAINTS))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
