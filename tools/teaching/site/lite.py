"""Adds a JupyterLite to the site: JupyterLab and Python in the reader's browser, with the lessons and
``minigpt_helpers`` in it. Python itself and numpy come from the address that the builder names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from urllib.parse import urlsplit

import nbformat

from tools.launcher.project import UserError
from tools.teaching.site.pages import Site

# Packages of the page itself. Pyodide has the rest of what the lessons import.
PACKED = ["minigpt-helpers", "ipywidgets", "anywidget", "psygnal", "comm"]
FROM_PYODIDE = ["numpy", "matplotlib", "safetensors", "threadpoolctl", "typing-extensions"]
PYODIDE = "https://cdn.jsdelivr.net"  # where JupyterLite finds it if it is told nothing else
FIRST_CELL = f"""\
# Only here, in the browser: fetch what the lessons import. Run this cell first.
import piplite
await piplite.install({FROM_PYODIDE!r})
await piplite.install({PACKED!r}, deps=False)"""
# Python in the browser is slower: the long run, whose steps a lesson calls STEPS, is half as long there.
LONG = re.compile(r"^STEPS = (\d+)$", re.MULTILINE)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every file in a wheel


def add_lite(site: Site) -> None:
    """Build JupyterLite into ``lite/`` of the site, with what ``downloads/`` holds."""
    folder = site.source.parent / "lite"
    for path in sorted((site.out / "downloads").rglob("*.ipynb")):
        name = path.relative_to(site.out / "downloads")
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(lite_copy(path), folder / "files" / name)
    wheels = [str(wheel_of(distribution(name), folder / "wheels")) for name in PACKED]
    plugin: dict[str, object] = {"disablePyPIFallback": True}
    if Path(site.pyodide or "no folder").is_dir():
        shutil.copytree(site.pyodide, site.out / "lite" / "static" / "pyodide")
        plugin["pyodideUrl"] = "./static/pyodide/pyodide.mjs"
    elif site.pyodide:
        plugin["pyodideUrl"] = site.pyodide
    settings = {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {
            "appName": "Mini-GPT",
            "exposeAppInBrowser": True,
            "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": plugin},
        },
    }
    (folder / "jupyter-lite.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "jupyterlite_core.app", "build", "--apps", "lab"]
    command += ["--lite-dir", folder, "--output-dir", site.out / "lite", "--source-date-epoch", "1"]
    command += ["--no-sourcemaps", "--no-unused-shared-packages", "--no-libarchive"]
    command += [f"--piplite-wheels={wheel}" for wheel in wheels]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError("JupyterLite could not be built:", done.stdout + done.stderr)
    outside = urlsplit(str(plugin.get("pyodideUrl", PYODIDE)))
    for path in (site.out / "lite").rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        html = html.replace("<head>", f"<head>\n    {policy(outside.scheme, outside.netloc)}", 1)
        path.write_text(html, encoding="utf-8")


def lite_copy(path: Path) -> nbformat.NotebookNode:
    """A student's copy that fetches its packages, and trains no longer than a browser bears."""
    notebook = nbformat.read(path, as_version=4)
    first = nbformat.v4.new_code_cell(FIRST_CELL, id="only-here")
    notebook.cells.insert(1, first)
    for cell in notebook.cells:
        cell.source = LONG.sub(halved, cell.source)
    return notebook


def halved(line: re.Match) -> str:
    return f"STEPS = {int(line[1]) // 2}  # in the browser; elsewhere {line[1]}"


def wheel_of(installed: Distribution, folder: Path) -> Path:
    """A wheel for every system of what is installed here, in Python alone; the same bytes each time."""
    name = re.sub(r"[-_.]+", "_", installed.metadata["Name"]).lower()
    about = f"{name}-{installed.version}.dist-info"
    files = {}
    if installed.read_text("direct_url.json"):  # this project, which is installed from its folder
        root = Path(__file__).parents[3]
        for path in (root / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    else:
        for file in installed.files or []:
            if file.suffix in (".py", ".js", ".css", ".json", ".typed") and ".." not in file.parts:
                files[file.as_posix()] = Path(installed.locate_file(file)).read_bytes()
        files = {file: data for file, data in files.items() if ".dist-info/" not in file}
    files[f"{about}/METADATA"] = (installed.read_text("METADATA") or "").encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{file},sha256={digest(data)},{len(data)}\n" for file, data in sorted(files.items())]
    files[f"{about}/RECORD"] = "".join([*rows, f"{about}/RECORD,,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, data in sorted(files.items()):
            wheel.writestr(zipfile.ZipInfo(file, EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def policy(scheme: str, host: str) -> str:
    """JupyterLab builds scripts at run time; what is loaded comes from here and from Pyodide's host."""
    pyodide = f" {scheme}://{host}" if host else ""
    own = f"'self' 'unsafe-inline' 'unsafe-eval' blob: data:{pyodide}"
    return f'<meta http-equiv="Content-Security-Policy" content="default-src {own}">'
