"""Put MathJax, from its Python package, into the site, so that reading it asks no other host."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

# Of the package's 15 MB the site needs the renderer, its fonts and the TeX macros it may load.
NEEDED = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def copy_mathjax(app: Sphinx) -> None:
    """Copy what `NEEDED` lists into the site's static folder."""
    if app.builder.format != "html":
        return
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("sphinx-mathjax-offline is not installed: pip install -e '.[book]'")
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for name in NEEDED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    # jupyter-book always sets this value of sphinx_comments, which we leave out.
    app.add_config_value("comments_config", {}, "html")
    # Before the pages are written: Sphinx puts a checksum of each script into its address.
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
