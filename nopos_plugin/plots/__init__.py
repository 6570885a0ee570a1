"""Pictures of results.jsonl, and of nothing else. Matplotlib and the standard library only."""

from nopos_plugin.plots.files import draw
from nopos_plugin.plots.rows import checked
from nopos_plugin.plots.seeds import over_seeds

__all__ = ["checked", "draw", "over_seeds"]
