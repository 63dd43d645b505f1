"""Grades a folder of submissions: ``start.py grade FOLDER``.

A submission is code that nobody trusts. The way of one through this package:

``submissions`` finds it and reads it as text, ``cells`` puts the teacher's cells back, ``sandbox``
hands it to a trusted process (``runner``), which starts a process for the notebook alone (``guest``,
inside ``jail`` where the system has that) and runs the checks itself, with stand-ins (``far``, ``wire``)
for what the student defined. ``report`` and ``feedback`` write down what came out. ``__main__`` holds
it together.
"""
