"""The live widgets of the lessons. Each is one line in a notebook; `_base` says how to write one."""

from __future__ import annotations

from minigpt_helpers.widgets.attention_mask import AttentionMaskExplorer
from minigpt_helpers.widgets.attention_viewer import AttentionViewer
from minigpt_helpers.widgets.block_bench import BlockBench
from minigpt_helpers.widgets.graph_explorer import GraphExplorer
from minigpt_helpers.widgets.temperature import TemperatureExplorer
from minigpt_helpers.widgets.token_explorer import TokenExplorer
from minigpt_helpers.widgets.training_dashboard import TrainingDashboard

__all__ = [
    "AttentionMaskExplorer",
    "AttentionViewer",
    "BlockBench",
    "GraphExplorer",
    "TemperatureExplorer",
    "TokenExplorer",
    "TrainingDashboard",
]
