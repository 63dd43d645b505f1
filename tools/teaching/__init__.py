"""What teachers use, run by the Python in ``.venv``: problem sets, grading, slides."""
