"""Load the explorer's scripts, and BokehJS from its Python package, on the page that has it."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

OWN = ("explorer.css", "recursion.js", "explorer.js")
BOKEH = "bokeh.min.js"  # the core: no widgets, tables or 3D


def bokeh_script() -> Path:
    """Return where the installed Bokeh keeps its script."""
    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        raise RuntimeError("bokeh is not installed: pip install -e '.[book]'")
    return Path(spec.origin).parent / "server" / "static" / "js" / BOKEH


def copy_files(app: Sphinx) -> None:
    """Copy scripts and style sheet into the site's static folder."""
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "explorer"
    target.mkdir(parents=True, exist_ok=True)
    for file in (bokeh_script(), *(Path(__file__).with_name(name) for name in OWN)):
        shutil.copyfile(file, target / file.name)


def load(app: Sphinx, page: str, template: str, context: dict[str, object], tree: object) -> None:
    """Refer to the copied files from a page that has an explorer."""
    if 'id="explorer"' not in str(context.get("body")):
        return
    style, *scripts = OWN
    app.add_css_file(f"explorer/{style}")
    for name in (BOKEH, *scripts):
        app.add_js_file(f"explorer/{name}", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    # Before the pages are written: Sphinx puts a checksum of each script into its address.
    app.connect("builder-inited", copy_files)
    app.connect("html-page-context", load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
