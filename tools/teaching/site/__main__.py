"""Build the site: ``python -m tools.teaching.site [--out FOLDER] [--repository URL] ...``"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

import minigpt_helpers
from minigpt_helpers import checks
from tools.launcher.project import UserError, here
from tools.teaching.site.finish import finish
from tools.teaching.site.lite import add_lite
from tools.teaching.site.live import write_scripts
from tools.teaching.site.pages import Site, write_pages

HERE = Path(__file__).parent


def write_reference(source: Path) -> None:
    """A page for each public module of the package; autodoc fills them from the docstrings."""
    names = sorted(
        m.name for m in pkgutil.iter_modules(minigpt_helpers.__path__) if m.name[0] != "_"
    )
    pages = {}
    for name in names:
        module = importlib.import_module(f"minigpt_helpers.{name}")
        body = f".. automodule:: {module.__name__}\n"
        if module is checks:
            rows = [
                f"   * - `{each.call}`\n     - {each.lesson}\n     - {each.expects.replace('|', chr(92) + '|')}"
                for each in checks.catalogue()
            ]
            head = ".. list-table::\n   :header-rows: 1\n\n   * - check\n     - lesson\n     - expects\n"
            body += "   :no-members:\n\n" + head + "\n".join(rows)
        pages[name] = f"{name}\n{'=' * len(name)}\n\n{body}\n"
    listed = "\n   ".join(names)
    pages["index"] = (
        "Reference\n=========\n\n.. automodule:: minigpt_helpers\n   :no-members:\n\n"
        f".. toctree::\n\n   {listed}\n"
    )
    (source / "api").mkdir()
    for name, text in pages.items():
        (source / "api" / f"{name}.rst").write_text(text, encoding="utf-8")


def build(site: Site) -> None:
    write_pages(site)
    write_reference(site.source)
    write_scripts(site.out / "_static" / "live", site.runs)
    shutil.copyfile(HERE / "static" / "site.css", site.out / "_static" / "site.css")
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # no date in what is written
    doctrees = site.source.parent / "doctrees"
    options = ["-b", "html", "-q", "-c", HERE, "-d", doctrees, site.source, site.out]
    if sphinx([str(option) for option in options]) != 0:
        raise UserError("Sphinx could not build the site: see above.")
    (site.out / ".buildinfo").unlink()
    (site.out / ".nojekyll").touch()
    finish(site)
    if site.with_lite:
        add_lite(site)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="start.py site", description=__doc__)
    parser.add_argument("--out", type=Path, help="where the site goes (default: build/site)")
    parser.add_argument(
        "--repository",
        default="",
        metavar="URL",
        help="https://github.com/OWNER/NAME, for the links to Binder",
    )
    parser.add_argument("--no-lite", action="store_true", help="leave out JupyterLite (run here)")
    parser.add_argument(
        "--pyodide",
        default="",
        metavar="WHERE",
        help="folder or address from which JupyterLite loads Python (default: Pyodide's public server)",
    )
    options = parser.parse_args(arguments)
    project = here()
    out = (options.out or project.root / "build" / "site").absolute()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "site"
        build(
            Site(
                project,
                Path(folder) / "source",
                made,
                options.repository.rstrip("/"),
                with_lite=not options.no_lite,
                pyodide=options.pyodide,
            )
        )
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(made, out)
    print(f"Written: {out}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit("\n  ".join([error.what, *error.advice]))
