"""Checks of lesson 3."""
