"""What ``start.py`` does, with Python's standard library alone (it runs before any install).

``place`` knows the folders, ``environment`` makes ``.venv``, ``diagnosis`` reads the log of a
failed install, ``copies`` looks after the student's notebooks, ``lab`` opens JupyterLab,
``testing`` runs the tests, ``bench`` the benchmarks, ``locking`` writes the locks, ``cli`` ties a
command to each.
``execute`` alone is run by the Python in ``.venv``: it runs the lessons and stores what they show.
"""
