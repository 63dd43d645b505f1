"""The tests are strict: a network is refused and noticed, in a notebook too, and so is a warning."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.launcher.project import here
from tools.testing.children.sitecustomize import LOG, is_this_machine

SWALLOWED = """
import socket
try:
    socket.socket().connect(("192.0.2.1", 80))
except OSError:
    pass
"""
OUR_OLD_CALL = """
import warnings
name = {"__name__": "minigpt_helpers.text", "warnings": warnings}
exec("warnings.warn('old', DeprecationWarning)", name)
"""
TESTS = f'''
import socket, subprocess, sys, urllib.request

def test_a_name_is_looked_up():
    try:
        urllib.request.urlopen("http://example.invalid/")
    except OSError:
        pass

def test_a_number_is_called():
    {SWALLOWED.replace(chr(10), chr(10) + "    ")}

def test_a_message_is_sent():
    try:
        socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
    except OSError:
        pass

def test_a_program_calls():
    subprocess.run([sys.executable, "-c", {SWALLOWED!r}], check=True)

def test_this_machine_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1])):
            pass
'''


def run_pytest(folder, *arguments):
    """Run it as the project does; each verdict by the name of the test, and all that was printed."""
    words = ["-v", "-W", "error", "-p", "tools.testing.plugin", "-p", "no:cacheprovider"]
    env = here().child_env() | {"PYTHONPATH": str(here().root)}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *arguments],
        cwd=folder, env=env, capture_output=True, text=True, timeout=600,
    )
    lines = [line for line in result.stdout.splitlines() if "::" in line and "%]" in line]
    return {name_of(line): "PASSED" in line for line in lines}, result.stdout


def name_of(line):
    """Of a test; of a notebook, whose tests are its cells."""
    first, *others = line.split()[0].split("::")
    return first if others[0] == "ipynb" else others[0]


def test_a_test_that_uses_the_network_fails_also_where_the_error_is_swallowed(tmp_path):
    (tmp_path / "test_network.py").write_text(TESTS)
    passed, printed = run_pytest(tmp_path)
    assert passed.pop("test_this_machine_passes"), printed
    assert len(passed) == 4 and not any(passed.values()), printed
    assert "it used the network: getaddrinfo to 'example.invalid'" in printed
    assert "it used the network: sendto to '192.0.2.1'" in printed


NOTEBOOKS = {  # name: (source, does it pass, what is said)
    "plain": ("print(1)", True, ""),
    "network": (SWALLOWED + "print(1)", False, "it used the network: connect to '192.0.2.1'"),
    "old": (OUR_OLD_CALL + "print(1)", False, "DeprecationWarning"),
    "warns": ("import warnings\nwarnings.warn('odd')\nprint(1)", False, "output fields from running code: {'stderr'}"),
}


def test_a_notebook_that_uses_the_network_or_warns_fails(tmp_path):
    stored = [new_output("stream", name="stdout", text="1\n")]
    for name, (source, _, _) in NOTEBOOKS.items():
        cells = [new_code_cell(source, outputs=stored, execution_count=1)]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        nbformat.write(new_notebook(cells=cells, metadata=metadata), tmp_path / f"{name}.ipynb")
    words = ["--nbval", "--nbval-current-env", *(f"{name}.ipynb" for name in NOTEBOOKS)]
    verdicts, printed = run_pytest(tmp_path, *words)
    parts = re.split(r"^_+ (\w+)\.ipynb::Cell 0 _+$", printed, flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2]))
    for name, (_, passes, said) in NOTEBOOKS.items():
        assert verdicts[name] == passes, printed
        assert said in told.get(name, ""), printed


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "::1", "fe80::1%lo", "",
                                  None, "0.0.0.0", b"127.0.0.1"])
def test_this_machine_is_known_by_its_names(host):
    assert is_this_machine(host) == (host != "fe80::1%lo")


@pytest.mark.parametrize("host", ["192.0.2.1", "example.invalid", "2001:db8::1", b"example.invalid"])
def test_other_machines_are_others(host):
    assert not is_this_machine(host)


def test_this_very_test_runs_with_the_hook(request):
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(
        here().root / "tools" / "testing" / "children"
    )
    with pytest.raises(OSError, match="the tests use no network"):
        is_called("192.0.2.1")
    Path(os.environ[LOG]).write_text("")


def is_called(host):
    with socket.socket() as one:
        one.connect((host, 80))
