"""The beginning of every Python that the tests start, kernels of notebooks too.

Its folder is first in PYTHONPATH (see ``tools.testing.plugin``), and Python imports a module of this
name by itself. It refuses the network, makes errors of our own outdated calls, and measures where
``start.py coverage`` asks for it. Only what it needs is imported, and late: all programs pay for it.
"""

import os
import sys

LOG = "MINIGPT_NETWORK_LOG"  # the file that keeps each attempt, also one that a program swallows
ADDRESS_IS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}


def is_this_machine(host):
    """Whether a host's name or number, as text or bytes, is that of this machine."""
    import ipaddress
    import socket

    host = os.fsdecode(host or "").partition("%")[0]
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def refuse_network(event, arguments):
    """An audit hook: whatever opens a connection passes here, in Python or in C."""
    if event not in ADDRESS_IS:
        return
    address = arguments[ADDRESS_IS[event]]
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = address
    elif isinstance(address, tuple):
        host = address[0]
    else:
        return  # a socket of the file system, or one that is connected already
    if not is_this_machine(host):
        what = f"{event[7:]} to {host!r} by {os.path.basename(sys.argv[0])}"
        if LOG in os.environ:
            with open(os.environ[LOG], "a", encoding="utf-8") as log:
                log.write(what + "\n")
        raise OSError(f"the tests use no network: {what}")


if not hasattr(sys, "minigpt_is_offline"):
    sys.minigpt_is_offline = True
    sys.addaudithook(refuse_network)
    if "ipykernel_launcher" in sys.orig_argv:
        import warnings

        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.filterwarnings("error", category=category, module="minigpt_helpers")
    if "COVERAGE_PROCESS_START" in os.environ:
        import coverage

        coverage.process_startup()
