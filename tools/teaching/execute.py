"""Run notebooks in place, one after another: ``python -m tools.teaching.execute FILE...``

Outputs are stored as the tests compare them: one stream of text per cell, no widget state, no
times. A cell that fails leaves its notebook as it was. With a training dashboard its recorded run is
stored, as one line of text in its output's metadata: the web site replays it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

RECORD = """\
import json
from minigpt_helpers.widgets import TrainingDashboard
print(json.dumps({each.model_id: each.recording() for each in TrainingDashboard._made}))"""


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    if has_dashboard := any("TrainingDashboard" in cell.source for cell in notebook.cells):
        notebook.cells.append(nbformat.v4.new_code_cell(RECORD))
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    if has_dashboard:
        runs = json.loads(notebook.cells.pop().outputs[0].text)
        for cell in notebook.cells:
            store_run(cell.get("outputs", []), runs)
    nbformat.write(notebook, path)


def store_run(outputs: list, runs: dict[str, dict]) -> None:
    """Beside the state of a dashboard, which is in the output before its view."""
    for before, view in zip(outputs, outputs[1:]):
        model = (
            view.get("data", {}).get("application/vnd.jupyter.widget-view+json", {}).get("model_id")
        )
        if model in runs:
            before.metadata["minigpt"]["run"] = json.dumps(runs[model], ensure_ascii=False)


def main(paths: list[str]) -> int:
    failed = 0
    for path in map(Path, paths):
        begin = time.perf_counter()
        try:
            execute(path)
        except CellExecutionError as error:
            failed += 1
            print(f"{path.name}: FAILED, left as it was\n{error}", flush=True)
        else:
            print(f"{path.name}: {time.perf_counter() - begin:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
