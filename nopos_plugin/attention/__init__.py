"""Attention with position encodings: `attend`, the context it needs, and one file a kernel."""

from nopos_plugin.attention.attend import KERNELS, attend
from nopos_plugin.attention.context import AttentionContext

__all__ = ["KERNELS", "AttentionContext", "attend"]
