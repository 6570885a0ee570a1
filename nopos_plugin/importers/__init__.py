"""Models of other systems as models of this plugin: one file a format."""

from nopos_plugin.importers.base import Imported, Source
from nopos_plugin.importers.recognise import KNOWN, convert

__all__ = ["KNOWN", "Imported", "Source", "convert"]
