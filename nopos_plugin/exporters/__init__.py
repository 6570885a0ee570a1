"""Models of this plugin in Hugging Face's format: one file a class that can hold some."""

from nopos_plugin.exporters.choose import export

__all__ = ["export"]
