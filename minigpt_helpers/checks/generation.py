"""Checks of lesson 6."""
