"""Counts what ``start.py coverage`` measured: core and package, unit tests and notebooks apart.

``python -m tools.testing.coverage_report FOLDER`` reads FOLDER/unit and FOLDER/notebooks. A figure is
the share of lines and branches, both together, that ran.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

PROMISED = {"core": 98.0, "package": 92.0}  # of the unit tests
BESIDE_THE_CORE = ("plots.py", "bridge.py", "_drawn.py")


def main(folder: Path) -> int:
    measured = {
        kind.name: count(kind) for kind in sorted(folder.iterdir()) if any(kind.glob("data*"))
    }
    shares = {
        kind: {group: share(files, group) for group in PROMISED} for kind, files in measured.items()
    }
    print(f"\n{'lines and branches that ran':30}" + "".join(f"{kind:>12}" for kind in measured))
    for group in PROMISED:
        figures = "".join(f"{shares[kind][group]:>11.1f}%" for kind in measured)
        print(f"{group:30}{figures}")
    for name in sorted(set().union(*measured.values())):
        figures = "".join(f"{percent(files.get(name)):>11.1f}%" for files in measured.values())
        print(f"  {name:28}{figures}")
    if "unit" not in measured:
        return 0
    for name, file in measured["unit"].items():
        if is_core(name) and (file["missing_lines"] or file["missing_branches"]):
            branches = [f"{start}->{end}" for start, end in file["missing_branches"]]
            print(f"not reached by unit tests: {name} {[*file['missing_lines'], *branches]}")
    less = [group for group, least in PROMISED.items() if shares["unit"][group] < least]
    for group in less:
        print(f"FAILED: the unit tests reach {shares['unit'][group]:.1f} % of the {group}, "
              f"promised are {PROMISED[group]:.0f} %")  # fmt: skip
    return 1 if less else 0


def count(folder: Path) -> dict[str, dict]:
    """What coverage counted in each file of the package, by its name in the package."""
    report = Coverage(data_file=folder / "data", config_file="pyproject.toml")
    report.combine([str(folder)], keep=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "report.json"
        report.json_report(outfile=str(path))
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return {
        Path(name).as_posix().rpartition("minigpt_helpers/")[2]: {
            **file["summary"],
            "missing_lines": file["missing_lines"],
            "missing_branches": file.get("missing_branches", []),  # none where no file ran
        }
        for name, file in files.items()
    }


def is_core(name: str) -> bool:
    return "/" not in name and name not in BESIDE_THE_CORE


def share(files: dict[str, dict], group: str) -> float:
    """Percent of a group's lines and branches."""
    chosen = [file for name, file in files.items() if group == "package" or is_core(name)]
    reached, all_of_them = map(sum, zip(*map(parts, chosen), strict=True))
    return 100 * reached / max(1, all_of_them)


def percent(file: dict | None) -> float:
    reached, all_of_them = parts(file) if file else (0, 1)
    return 100 * reached / max(1, all_of_them)


def parts(file: dict) -> tuple[int, int]:
    """Lines and branches of a file that ran, and how many there are."""
    return (
        file["covered_lines"] + file.get("covered_branches", 0),
        file["num_statements"] + file.get("num_branches", 0),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
