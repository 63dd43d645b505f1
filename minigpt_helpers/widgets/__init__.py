"""The live widgets of the lessons. Each is one line in a notebook; `_base` says how to write one."""

from __future__ import annotations

from minigpt_helpers.widgets.attention_mask import AttentionMaskExplorer
from minigpt_helpers.widgets.attention_viewer import AttentionViewer
from minigpt_helpers.widgets.temperature import TemperatureExplorer

__all__ = ["AttentionMaskExplorer", "AttentionViewer", "TemperatureExplorer"]
