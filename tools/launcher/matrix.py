"""Tries the tests on other Pythons, libraries, processors and settings, and prints a table.

A row is one such machine. It gets an environment in ``build/matrix/`` (rows with the same Python and
the same versions share one), a copy of the project where it needs one, and runs every notebook under
strict nbval and the unit tests. What this machine cannot run says so.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools.launcher import testing
from tools.launcher.environment import LOCKS, prepare
from tools.launcher.leftovers import MADE
from tools.launcher.needed import NEEDED
from tools.launcher.project import Project, UserError, python_name, say

OLDEST = f"{NEEDED[0]}.{NEEDED[1]}"
KERNELS = ["Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake"]
KERNELS += ["Sapphirerapids", "ARMV8", "NEOVERSEN1"]  # of OpenBLAS; a machine runs some of them
NAMED = {"Prescott": "Katmai"}  # OpenBLAS has one kernel for both, and says the older name
EVERYTHING, CORE = "everything", "lessons, core"
WAIT = 3600  # seconds for the notebooks, and for the unit tests


class NotHere(Exception):
    """This machine cannot run a row, and why."""


@dataclass(frozen=True)
class Row:
    """One row of the table: which Python ("" for any), which versions, which settings."""

    name: str
    python: str = ""
    versions: str = "lock"
    settings: dict[str, str] = field(default_factory=dict)
    inside: (
        Callable[[Project], contextlib.AbstractContextManager[tuple[Path, list[str]]]] | None
    ) = None
    needs: Callable[[Project], dict[str, str]] | None = None  # settings to be found out, or NotHere


@dataclass
class Result:
    """What a row showed; a count is what pytest said last."""

    row: str
    date: str
    ran: str = ""  # EVERYTHING or CORE
    python: str = ""
    numpy: str = ""
    notebooks: str = "not run"
    units: str = "not run"
    seconds: int = 0

    @property
    def passed(self) -> bool:
        both = (self.notebooks, self.units)
        return all(re.fullmatch(r"\d+ passed(, \d+ (skipped|xfailed))*", said) for said in both)


# What a row needs to find out on the machine


def blas_kernel(name: str) -> Callable[[Project], dict[str, str]]:
    """OpenBLAS takes a kernel by its name only if the processor has what it needs."""

    def needs(project: Project) -> dict[str, str]:
        code = (
            "import numpy, threadpoolctl; numpy.ones((64, 64)) @ numpy.ones((64, 64));"
            "print(*[one['architecture'] for one in threadpoolctl.threadpool_info()"
            " if one['user_api'] == 'blas'])"
        )
        said = ask(project.python, code, OPENBLAS_CORETYPE=name)
        if said is None or said.lower() != NAMED.get(name, name).lower():
            raise NotHere(f"the processor does not run it (OpenBLAS took {said or 'none'})")
        return {"OPENBLAS_CORETYPE": name}

    return needs


def without_features(*kinds: str) -> Callable[[Project], dict[str, str]]:
    """Numpy's own names of processor features differ from release to release: ask it."""

    def needs(project: Project) -> dict[str, str]:
        code = (
            "from numpy._core import _multiarray_umath as core;"
            "print(*[name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]])"
        )
        named = (ask(project.python, code) or "").split()
        chosen = [name for name in named if name.startswith(kinds)]
        if not chosen:
            raise NotHere("the processor has no such feature")
        return {"NPY_DISABLE_CPU_FEATURES": " ".join(chosen)}

    return needs


def locale(name: str, charmap: str) -> Callable[[Project], dict[str, str]]:
    """A locale of its own, so that none has to be installed; with UTF-8 mode off."""

    def needs(project: Project) -> dict[str, str]:
        folder = project.root / "build" / "matrix" / "locales"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_dir():
            with contextlib.suppress(OSError):
                words = ["localedef", "-i", name.split(".")[0], "-f", charmap, str(folder / name)]
                subprocess.run(words, capture_output=True)
        settings = {"LOCPATH": str(folder), "LC_ALL": name, "PYTHONUTF8": "0"}
        said = ask(project.python, "import locale; print(locale.getencoding())", **settings)
        if said is None or said.lower().replace("-", "") != charmap.lower().replace("-", ""):
            raise NotHere("the system cannot make this locale (Debian: apt install locales)")
        return settings

    return needs


def ask(python: Path, code: str, **settings: str) -> str | None:
    """What a short program prints, None if it fails."""
    done = subprocess.run(
        [str(python), "-c", code], env=os.environ | settings, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


# Where a row runs: the folder, and the words before each command


@contextlib.contextmanager
def odd_path(project: Project) -> Iterator[tuple[Path, list[str]]]:
    with copied(project, "Größe, Maß & Übung") as folder:
        yield folder, []


@contextlib.contextmanager
def read_only(project: Project) -> Iterator[tuple[Path, list[str]]]:
    """A copy that cannot be written: by its modes, or, for root, by a mount of its own."""
    with copied(project, "read-only") as folder:
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
            words = ["unshare", "-m", "sh", "-c", mount, str(folder)]
            touched = subprocess.run([*words, "touch", str(folder / "x")], capture_output=True)
            if b"Read-only" not in touched.stderr:
                raise NotHere("root can write everywhere here")
            yield folder, words
            return
        modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            yield folder, []
        finally:
            for path, mode in modes.items():
                path.chmod(mode)


@contextlib.contextmanager
def copied(project: Project, name: str) -> Iterator[Path]:
    """A copy of the project's files, without what is made from them."""
    folder = project.root / "build" / "matrix" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project.root, folder, ignore=shutil.ignore_patterns(*MADE, "*.pyc"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# The rows


def all_rows() -> list[Row]:
    newest = max(pythons(), key=lambda name: int(name.split(".")[1]), default=OLDEST)
    elsewhere = "/opt/elsewhere"
    conda = {
        "CONDA_PREFIX": elsewhere,
        "CONDA_DEFAULT_ENV": "base",
        "CONDA_SHLVL": "1",
        "PATH": f"{elsewhere}/bin{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONNOUSERSITE": "1",
    }
    return [
        Row("lowest", OLDEST, "lowest"),
        Row("newest", newest, "newest"),
        *[Row(f"python-3.{minor}", f"3.{minor}") for minor in range(NEEDED[1], 16)],
        *[Row(f"openblas-{name.lower()}", needs=blas_kernel(name)) for name in KERNELS],
        Row("no-avx512", needs=without_features("AVX512", "X86_V4")),
        Row("no-avx2", needs=without_features("AVX512", "X86_V4", "AVX2", "FMA", "X86_V3")),
        *[
            Row(f"threads-{number}", settings=dict.fromkeys(
                ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(number)
            ))
            for number in (1, 2)
        ],
        Row("hash-seed", settings={"PYTHONHASHSEED": "4711"}),
        Row("time-zone", settings={"TZ": "Pacific/Kiritimati"}),
        Row("locale-c", settings={"LC_ALL": "C", "PYTHONUTF8": "0"}),
        Row("locale-de", needs=locale("de_DE.UTF-8", "UTF-8")),
        Row("cp1252", needs=locale("de_DE.CP1252", "CP1252")),
        Row("odd-path", inside=odd_path),
        Row("read-only", inside=read_only),
        Row("conda", settings=conda),
        Row("pythonpath", settings={"PYTHONPATH": f"{elsewhere}{os.pathsep}{Path(__file__).parent}"}),
    ]  # fmt: skip


def pythons() -> dict[str, Path]:
    """The Pythons of this machine by their version, such as 3.12."""
    found = {}
    beside = Path(sys.base_prefix).parent  # pyenv keeps all its Pythons in one folder
    managed = sorted(
        {*Path.home().glob(".pyenv/versions/*/bin"), *beside.glob("3*/bin")}, reverse=True
    )
    for minor in range(NEEDED[1], 16):
        name = f"python3.{minor}"
        candidates = [
            shutil.which(name),
            *(str(folder / name) for folder in managed),
            sys.executable,
        ]
        for candidate in filter(None, candidates):
            code = "import sys; print('3.%d' % sys.version_info[1])"
            if Path(candidate).is_file() and ask(Path(candidate), code) == f"3.{minor}":
                found[f"3.{minor}"] = Path(candidate)
                break
    return found


# One row


def run_row(project: Project, row: Row, core: bool) -> Result:
    """Run a row; whatever stops it stands in the result."""
    result = Result(row.name, datetime.date.today().isoformat(), CORE if core else EVERYTHING)
    start = time.monotonic()
    try:
        python = environment(project, row.python or current(), row.versions)
        its_own = Project(project.root, environment=str(python.parent.parent))
        settings = row.settings | (row.needs(its_own) if row.needs else {})
        if row.versions != "lock":  # what is drawn is compared as numbers, not as pixels
            settings["MINIGPT_OTHER_VERSIONS"] = "1"
        versions = ask(
            python, "import numpy, sys; print(sys.version.split()[0], numpy.__version__)"
        )
        result.python, result.numpy = (versions or "? ?").split()
        with (row.inside or in_place)(project) as (folder, words):
            notebooks, units = parts(Project(folder), core)
            for name, files in (("notebooks", notebooks), ("units", units)):
                say(f"  {row.name}: {name}")
                log = project.root / "build" / "matrix" / f"{row.name}-{name}.log"
                setattr(result, name, run_pytest(its_own, folder, words, settings, files, log))
    except NotHere as reason:
        result.notebooks = result.units = f"not run: {reason}"
    result.seconds = round(time.monotonic() - start)
    return result


@contextlib.contextmanager
def in_place(project: Project) -> Iterator[tuple[Path, list[str]]]:
    yield project.root, []


def parts(project: Project, core: bool) -> tuple[list[str], list[str]]:
    """pytest's words for the notebooks and for the unit tests; with ``core`` the quick ones."""
    chosen = [
        str(path.relative_to(project.root))
        for path in project.tracked_notebooks()
        if not core or path.parent == project.notebooks
    ]
    units = [f"tests/test_{name}.py" for name in testing.QUICK if name != "setup"]
    everything = ["tests", "--ignore=tests/browser", "--ignore=tests/bridge"]
    return [*testing.NBVAL, *chosen], [*testing.processes([]), *(units if core else everything)]


def run_pytest(
    project: Project, folder: Path, words: list[str], settings: dict[str, str], files: list[str],
    log: Path,
) -> str:  # fmt: skip
    """pytest in a folder with a row's settings around it. Its last words, such as "812 passed"."""
    with changed_environment(settings):
        env = project.child_env()
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if folder != project.root:
        env["PYTHONPATH"] = str(folder)  # before the project that is installed
    command = [*words, str(project.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    with log.open("w", encoding="utf-8", errors="replace") as output:
        try:
            subprocess.run(
                command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, timeout=WAIT
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {WAIT} s"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = re.search(r"(\d+ \w+(?:, \d+ \w+)*) in ", next(reversed(lines), ""))
    return last[1] if last else f"pytest stopped: see {log.name}"


@contextlib.contextmanager
def changed_environment(settings: dict[str, str]) -> Iterator[None]:
    """What ``start.py`` finds around it; it then keeps what is harmless, and drops the rest."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def current() -> str:
    return f"3.{sys.version_info.minor}"


def environment(project: Project, version: str, versions: str) -> Path:
    """The Python of the environment with these versions; made if it is not there, or is outdated."""
    base = pythons().get(version)
    if base is None:
        raise NotHere(f"there is no Python {version} here")
    folder = project.root / "build" / "matrix" / f"env-{version}-{versions}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "made-from.txt"
    wanted = "".join(
        (project.root / name).read_text() for name in ("pyproject.toml", LOCKS["tests"])
    )
    if versions == "newest":
        wanted += datetime.date.today().isoformat()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    say(f"  environment: Python {version}, {versions}")
    shutil.rmtree(folder, ignore_errors=True)
    uv = [str(project.python), "-m", "uv", "--quiet"]
    install = [*uv, "pip", "install", "--python", str(python), "--compile-bytecode"]
    everything = {
        "lock": ["--require-hashes", "-r", LOCKS["tests"]],
        # the backend is one of the direct dependencies only where it is named
        "lowest": ["--resolution", "lowest-direct", "hatchling>=1.27", ".[teach,test]"],
        "newest": ["--upgrade", "hatchling", ".[teach,test]"],
    }[versions]
    here = ["--no-deps", "--no-build-isolation", "-e", "."]
    for words in ([*uv, "venv", "--python", str(base), str(folder)], [*install, *everything],
                  [*install, *here]):  # fmt: skip
        done = subprocess.run(words, cwd=project.root, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotHere(f"the install failed: {' '.join(done.stderr.split())[-300:]}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


# The command


def run_matrix(project: Project, arguments: list[str]) -> int:
    """``matrix [--core] [--table FILE] [ROW]...``: run the rows named, or all; 1 if one failed, or
    if one that was named cannot run here."""
    words, core, table = list(arguments), "--core" in arguments, None
    if core:
        words.remove("--core")
    if "--table" in words:
        at = words.index("--table")
        if at + 1 == len(words):
            raise UserError(
                "--table takes a file.", f"{python_name()} start.py matrix --table docs/matrix.md"
            )
        table = Path(words.pop(at + 1))
        words.remove("--table")
    rows = {row.name: row for row in all_rows()}
    chosen = []
    for word in words:
        fits = [name for name in rows if name == word] or [n for n in rows if n.startswith(word)]
        if not fits or word.startswith("-"):
            raise UserError(f"The matrix has no row {word!r}.", "There are: " + ", ".join(rows))
        chosen += fits
    prepare(project, "tests")
    folder = project.root / "build" / "matrix"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "results.json"
    results = read_results(kept)
    now = []
    for name in chosen or ([] if table else list(rows)):
        say(f"== {name} ==")
        now.append(run_row(project, rows[name], core))
        before = results.get(name)
        if not (core and before and before.ran == EVERYTHING):  # a short run replaces no long one
            results[name] = now[-1]
            kept.write_text(json.dumps([asdict(one) for one in results.values()], indent=1))
    text = as_table(now if now else [results.get(name) or Result(name, "") for name in rows])
    say("\n" + text)
    if table:
        every = [results.get(name) or Result(name, "") for name in rows]
        table.write_text(page(as_table(every)), encoding="utf-8")
    fine = [one.passed or (not chosen and one.units.startswith("not run: ")) for one in now]
    return 0 if all(fine) else 1


def read_results(path: Path) -> dict[str, Result]:
    try:
        return {one["row"]: Result(**one) for one in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def as_table(results: list[Result]) -> str:
    head = "| row | date | Python | numpy | what ran | notebooks | unit tests | seconds |"
    lines = [head, "|" + "---|" * 8]
    for one in results:
        cells = [
            one.row,
            one.date,
            one.python,
            one.numpy,
            one.ran,
            one.notebooks,
            one.units,
            one.seconds or "",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def page(table: str) -> str:
    return f"""# The same outputs everywhere

Every notebook under strict `nbval` (each output compared with the stored one) and the unit tests, on
other Pythons, libraries, processors and settings. `python3 start.py matrix` runs all rows on your
machine (`matrix lowest newest` those two; with `--core` the lessons and the core's tests alone:
"lessons, core"), and `python3 start.py matrix --table docs/matrix.md` writes this page. A scheduled
workflow runs them all.

{table}

`lowest`: the lowest versions that `pyproject.toml` names, on the oldest Python. `newest`: the newest
versions there are. All other rows: the versions of the lock. `openblas-...`: another kernel of
OpenBLAS (`OPENBLAS_CORETYPE`). `no-...`: numpy without these instructions
(`NPY_DISABLE_CPU_FEATURES`). `cp1252`: that as preferred encoding, UTF-8 mode off. `odd-path`: spaces,
an ampersand and umlauts in the path. `conda`: an active conda environment of others.
`pythonpath`: other folders in `PYTHONPATH`.
"""
