"""Grades a folder of submissions with nbgrader: ``start.py grade FOLDER``.

A submission is code that nobody trusts. The way of one through this package:

``submissions`` finds it and reads it as text, ``course`` puts the teacher's test cells back and
keeps the gradebook (both with nbgrader's own parts), ``runner`` runs it, in a process of its own
with limits, inside ``jail`` where the system has that, in the kernel of ``kernel``; what comes
out is scored by ``course`` and written down by ``report``. ``__main__`` holds it together.
"""

# How the kernel knows a graded cell.
MARK = "# graded with the teacher's own checks\n"
