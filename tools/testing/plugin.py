"""A plugin of pytest: a test fails if it, or a program that it starts, uses the network.

Loopback is allowed: a notebook's kernel and a local server are reached by it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from tools.testing.children import sitecustomize

SAVE = """
from coverage import process_startup
process_startup.coverage.stop()
process_startup.coverage.save()
"""
CHILDREN = Path(sitecustomize.__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Give the programs that tests start the same hook as this one, and a log of this process."""
    folder = common_folder(config)
    number, os.environ[sitecustomize.LOG] = tempfile.mkstemp(prefix="network-", dir=folder)
    os.close(number)
    before = [
        each
        for each in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if each and each != str(CHILDREN)
    ]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHILDREN), *before])
    nbval.plugin.RunningKernel = in_scratch(folder)


def common_folder(config: pytest.Config) -> Path:
    """Of all processes of a run; the first makes it and removes it: others may be ended before."""
    if hasattr(config, "workerinput"):
        return Path(os.environ[sitecustomize.LOG]).parent
    folder = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    return Path(folder.name)


def in_scratch(folder: Path):
    """Let each notebook run in an empty folder: what it writes is not left beside it."""

    def kernel(name: str, cwd: str, **options):
        return RunningKernel(name, cwd=tempfile.mkdtemp(dir=folder), **options)

    return kernel


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from without_network())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from without_network())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.parent is not item.parent:
        save_coverage(getattr(item.parent, "kernel", None))
    return (yield from without_network())


def save_coverage(kernel) -> None:
    """Let a notebook's kernel write what it measured: nbval ends it with no time to do so."""
    if kernel is not None and "COVERAGE_PROCESS_START" in os.environ:
        kernel.await_reply(kernel.execute_cell_input(SAVE, allow_stdin=False), timeout=60)


def without_network():
    try:
        return (yield)
    finally:
        log = Path(os.environ[sitecustomize.LOG])
        if attempts := log.read_text(encoding="utf-8").splitlines():
            log.write_text("", encoding="utf-8")
            pytest.fail(f"it used the network: {'; '.join(attempts)}", pytrace=False)
