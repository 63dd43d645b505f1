"""Answers to the exercises, one file for each module of checks.

`RIGHT` holds (name, answer): right ones in other styles than the reference. `WRONG` holds (name,
answer, words): wrong ones that are no slip of the exercise, and words of the message. Where a check
takes several objects, the answer is a tuple of them. Slips need no entry: see test_checks.py.
"""
