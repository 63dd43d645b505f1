"""What all tests share: one thread, no window, and the browser if there is one."""

from __future__ import annotations

import os

# Before numpy is imported: results and times do not depend on how many cores there are.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest  # noqa: E402

from tools.launcher.browser import find_browser  # noqa: E402
from tools.testing.plugin import (  # noqa: E402, F401  - hooks: no test uses the network
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)

# The files that take longest, the longest first. Two processes get file after file in the order of the
# collection (start.py test): with short ones at the end both end at about the same time.
LONGEST = """
    checks grading_sets grading grading_forgery plots start strict nbval_pictures widgets_base
    lessons site_pages site present benchmark together slides
""".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program of a Chromium. None found: the test is skipped, or fails where it must run."""
    browser = find_browser()
    if browser is None:
        if os.environ.get("MINIGPT_REQUIRE_BROWSER") == "1":
            pytest.fail("no Chromium found, and MINIGPT_REQUIRE_BROWSER is 1")
        pytest.skip("no Chromium found")
    return browser
