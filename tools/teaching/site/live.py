"""What brings the widgets of the pages to life: their scripts, the trained models, recorded runs."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path

from minigpt_helpers import pretrained, widgets
from minigpt_helpers.checkpoints import load_checkpoint
from minigpt_helpers.widgets._base import HERE, fingerprint
from minigpt_helpers.widgets.block_bench import bench_axes, load_results
from tools.launcher.project import UserError

STATIC = Path(__file__).parent / "static"
EXPORT = re.compile(r"^export (?=(?:const|function|class|async) )|^export \{.*\};\n", re.MULTILINE)
IMPORT = re.compile(r'^import \{([^}]*)\}\s+from\s+"\./(\w+\.js)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async )?(?:const|function|class) (\w+)", re.MULTILINE)


@cache
def shipped_models() -> dict[str, Path]:
    """The trained models of the package: name and file."""
    folder = Path(pretrained.__file__).parent
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


@cache
def model_name(print_: str) -> str:
    """Which shipped model this is the fingerprint of."""
    for name, path in shipped_models().items():
        if fingerprint(load_checkpoint(path)[0]) == print_:
            return name
    raise UserError(
        f"A widget shows a model (fingerprint {print_}) that is not one of those shipped: "
        f"{', '.join(shipped_models())}.",
        "Execute its notebook again: start.py execute. Only shipped models can be alive on a page.",
    )


def classic(module: str) -> str:
    """A module's text as an expression with the value of its exports.

    Pages from ``file://`` may load scripts, but not modules.
    """
    names = EXPORTED.findall(module)
    body = EXPORT.sub("", module)
    if "export default " in body:
        body = body.replace("export default ", "const exported = ")
        names.append("default: exported")
    return f'(() => {{\n"use strict";\n{body}\nreturn {{ {", ".join(names)} }};\n}})()'


def site_script() -> str:
    """``site.js`` and what it imports, each module in a scope of its own."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        path = STATIC / name if (STATIC / name).is_file() else HERE / name
        module = path.read_text(encoding="utf-8")
        for imported in IMPORT.findall(module):
            if imported[1] not in found:
                add(imported[1])
        module = IMPORT.sub(r'const {\1} = modules["\2"];\n', module)
        found[name] = f"modules[{json.dumps(name)}] = {classic(module)};"

    add("site.js")
    return "\n".join(["(() => {", "const modules = {};", *found.values(), "})();"])


def write_scripts(folder: Path, runs: dict[str, dict]) -> None:
    """The site's script, one for each widget, each model as file and as script, recorded runs."""
    folder.mkdir(parents=True, exist_ok=True)
    write = lambda name, text: (folder / name).write_text(text + "\n", encoding="utf-8")  # noqa: E731
    write("site.js", site_script())
    for name in widgets.__all__:
        widget = getattr(widgets, name)
        write(f"{name}.js", f"minigpt.widgets.{name} = {classic(widget._esm)};")
        write(f"{name}.css", widget._css)
    results = load_results()
    given = {"BlockBench": {"results": results, "axes": bench_axes(results)}} | runs
    for name, data in given.items():
        write(f"{name}.given.js", f"minigpt.given[{json.dumps(name)}] = {json.dumps(data)};")
    (folder / "models").mkdir(exist_ok=True)
    for name, path in shipped_models().items():
        data = path.read_bytes()
        (folder / "models" / path.name).write_bytes(data)
        write(f"models/{name}.js", f'minigpt.given.{name} = "{base64.b64encode(data).decode()}";')
