"""Two commands, nothing before them but Python 3.11 or newer (on Windows: py start.py).

    python3 start.py         opens lesson 1 in JupyterLab
    python3 start.py test    runs every test of the project

All else is in the folder tools/launcher/. This file keeps to words that even a very old Python can
read, so that such a Python can say what is wrong instead of showing a syntax error.
"""

import os
import sys

ROOT = os.path.dirname(os.path.realpath(__file__))
if sys.path[0] != ROOT:  # started through a link
    sys.path.insert(0, ROOT)

from tools.launcher.needed import NEEDED  # noqa: E402


def too_old(version, executable):
    """Return what to tell the owner of a Python older than NEEDED, or None if it will do."""
    if tuple(version[:2]) >= NEEDED:
        return None
    needed = "%d.%d" % NEEDED
    return "\n".join(
        [
            "This is Python %d.%d (%s). Mini-GPT needs Python %s or newer."
            % (version[0], version[1], executable, needed),
            "What to do:",
            "  - perhaps a newer one is there already: try python3.13 start.py, or python3.11 ...",
            "    (on Windows: py -0 lists all that are installed, py -3.13 start.py takes one)",
            "  - or install one: from python.org, by your system's package manager, or with conda:",
            '    conda create -n mini-gpt "python>=%s", then conda activate mini-gpt' % needed,
            "  - then type the same command again.",
        ]
    )


def main():
    message = too_old(sys.version_info, sys.executable)
    if message is not None:
        sys.stderr.write(message + "\n")
        return 1
    from tools.launcher.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
