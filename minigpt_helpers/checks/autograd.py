"""Checks of lesson 2."""
