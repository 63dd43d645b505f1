"""Run notebooks in place, one after another: ``python -m tools.teaching.execute FILE...``

Outputs are stored as the tests compare them: one stream of text per cell, no widget state, no
times. A cell that fails leaves its notebook as it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
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
    nbformat.write(notebook, path)


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
