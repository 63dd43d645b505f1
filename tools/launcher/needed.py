"""The oldest Python that will do. Even a very old one must be able to read this file."""

NEEDED = (3, 11)
