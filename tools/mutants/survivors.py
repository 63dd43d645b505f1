"""The changes that no test of the core notices, and why: ``(module, old, new)`` to the reason."""

from __future__ import annotations

EXPLAINED: dict[tuple[str, str, str], str] = {}
