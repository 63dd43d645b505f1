"""What keeps the tests strict, and how they are measured.

``plugin`` is a plugin of pytest: no network. ``children`` is on the path of every Python that the
tests start, a notebook's kernel too. ``coverage_report`` reads what ``start.py coverage`` measured.
"""
