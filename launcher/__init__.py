"""What ``start.py`` does, with Python's standard library alone (it runs before any install).

``place`` knows the folders, ``environment`` makes ``.venv``, ``diagnosis`` reads the log of a
failed install, ``copies`` looks after the student's notebooks, ``lab`` opens JupyterLab,
``present`` shows a lesson slide by slide in it, ``slides`` makes decks, ``testing`` runs the tests,
``bench`` the benchmarks, ``sets`` makes and grades problem sets, ``release`` packs what students
get, ``locking`` writes the locks, ``cli`` ties a command to each.
Some are run by the Python in ``.venv``: ``execute`` runs the lessons and stores what they show,
``deck`` turns one into slides, ``deck_pdf`` prints them, ``problems`` makes the students' sets,
``grading`` grades what they hand in.
"""
