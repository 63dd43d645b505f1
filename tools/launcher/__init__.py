"""What ``start.py`` does before and around the install, with Python's standard library alone.

``project`` knows the folders, ``needed`` the oldest Python, ``environment`` makes ``.venv``,
``installers`` says which settings of pip and uv are kept, ``diagnosis`` reads the log of a failed
install, ``my_work`` keeps the student's notebooks and ``student_copy`` makes one, ``lab`` opens
JupyterLab, ``present`` shows a lesson slide by slide in it, ``browser`` finds a Chromium,
``testing`` runs the tests, ``release`` packs what students get, ``locking`` writes the locks.
``slides`` (and the web site), ``sets`` and ``bench`` start what ``tools.teaching`` and
``tools.benchmarks`` do; ``cli`` has a command for each.
"""
