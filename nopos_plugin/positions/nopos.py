"""No position encoding (Haviv et al., 2022)."""

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.registry import register


@register("nopos")
class NoPos(PositionEncoding):
    """None: order is seen through the causal mask alone (Haviv et al., 2022)."""

    accepts_given = False
