"""Position encodings: one file each, found and registered by importing this package."""

from nopos_plugin.discover import import_submodules
from nopos_plugin.positions.base import PositionEncoding, Positions, Shape
from nopos_plugin.positions.registry import build, get, names, register

import_submodules(__name__, __path__)

__all__ = ["PositionEncoding", "Positions", "Shape", "build", "get", "names", "register"]
