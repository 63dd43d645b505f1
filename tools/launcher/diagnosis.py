"""From the log of a failed install to a sentence that says what to do."""

from __future__ import annotations

import errno
import re

from tools.launcher.project import UserError

# Looked for in this order: a full disk or a wrong hash may be followed by messages about the
# network, a package that is not found often follows from a missing network.
CAUSES = [
    (
        r"No space left on device|not enough space|ENOSPC|os error 28|disk quota exceeded",
        "the disk is full.",
        "Free about 1 GB, then type the same command again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch|hash mismatch",
        "a downloaded package is not the one that the lock file names (its hash differs).",
        "Often a download was cut short: type the same command again. If it stays so, something "
        "between you and the package server changes files: try another network.",
    ),
    (
        r"SSL module is not available|ssl module in Python is not available|No module named '_?ssl'",
        "this Python was built without the module ssl, so it can reach no package server.",
        "Use another Python: from python.org, from your system, or with conda.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|SSLError",
        "the package server's certificate was refused.",
        "Check the clock of this computer. In a school or company network ask for its "
        "certificate, and set PIP_CERT (with uv: SSL_CERT_FILE) to that file.",
    ),
    (
        r"Tunnel connection failed|ProxyError|Cannot connect to proxy|proxy.*refused",
        "the proxy did not let the download through.",
        "Check HTTPS_PROXY, or ask who runs the network.",
    ),
    (
        r"name resolution|NameResolutionError|getaddrinfo failed|nodename nor servname|dns error|"
        r"Name or service not known|Failed to resolve|Network is unreachable|No route to host|"
        r"Failed to establish a new connection|NewConnectionError|Connection refused|"
        r"ConnectTimeout|Read timed out|ReadTimeout|operation timed out|Connection reset|"
        r"error sending request|Connection aborted|ConnectionError|client error \(Connect\)",
        "the package server cannot be reached.",
        "The first start needs the internet, later ones do not. Check the connection (proxy, "
        "log-in page of the wireless network), then type the same command again.",
    ),
    (
        r"HTTP error (?:401|403|5\d\d)|status (?:client|server) error \((?:401|403|5\d\d)|"
        r"(?:401|403|5\d\d) (?:Client |Server )?Error",
        "the package server refused, or is out of order.",
        "Later it may work. A mirror (PIP_INDEX_URL, UV_INDEX_URL, pip.conf, uv.toml) may also ask "
        "for a password: ask who runs it.",
    ),
    (
        r"contains the PATH separator",
        "the path of the project's folder has a character that separates paths.",
        "Rename the folder (no colon in it, on Windows no semicolon), then start there again.",
    ),
    (
        r"Unable to symlink|symlink\(|symbolic link|'lib' -> '",
        "the file system of the project's folder has no links, which a virtual environment needs.",
        "Move the project to this computer's own disk (not a memory stick, a shared folder or a "
        "network drive), and start there again.",
    ),
    (
        r"Long Path|File name too long|filename or extension is too long",
        "a file's path became too long for this system.",
        "Move the project to a short path, for instance C:\\mini-gpt, and start there again.",
    ),
    (
        r"Permission denied|Access is denied|PermissionError|os error 13|Read-only file system",
        "a file could not be written.",
        "Close every program that uses this folder (JupyterLab, an editor), check that the folder "
        "is yours, then type the same command again.",
    ),
    (
        # pip lists all versions that this Python is too old for, wanted or not
        r"has no wheels|no usable wheels|not a supported wheel|Failed building wheel|"
        r"Failed to build|requires a different Python|"
        r"different python version:[^\n]*?([\w.]+) Requires-Python(?s:.)*?==\1(?![\w.])",
        "a package has no ready-made file for this Python on this system.",
        "Use another version of Python: one that is a year old is the safest (all are at "
        "python.org). Then type the same command again with that Python.",
    ),
    (
        r"No matching distribution found for (\S+)|Because (\S+) was not found in|"
        r"there is no version of (\S+)",
        "the package server has no file of {name} for this Python.",
        "If packages come from a mirror (PIP_INDEX_URL, UV_INDEX_URL, pip.conf, uv.toml), it lacks "
        "this one or is out of date: ask who runs it, or start without that setting. Otherwise "
        "use another version of Python: one that is a year old is the safest.",
    ),
]


def install_error(log_text: str, log_name: str) -> UserError:
    """Say why an install failed, as far as its log tells."""
    for pattern, cause, remedy in CAUSES:
        if found := re.search(pattern, log_text):
            what = cause.format(name=found[found.lastindex]) if found.lastindex else cause
            advice = remedy
            break
    else:
        lines = [line.strip() for line in log_text.splitlines() if line.strip()]
        what, advice = "the installer stopped. Its last words:", "\n  ".join(lines[-4:])
    return UserError(f"The install failed: {what}", advice, f"Everything it printed: {log_name}")


def system_error(error: OSError) -> UserError:
    """Say what the operating system refused."""
    name = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return UserError(f"The disk is full{name}.", "Free about 1 GB and type the command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"A file cannot be written or removed{name}.",
            "Close every program that uses it, and check that the project's folder is yours.",
        )
    return UserError(f"{error.strerror or error}{name}.")
