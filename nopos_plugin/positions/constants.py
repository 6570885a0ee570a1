"""Constants on a device.

They are no buffers: `.half()` would ruin those, and checkpoints would store them.
"""

from functools import lru_cache

import torch


@lru_cache(maxsize=64)
def constant(values, dtype, device):
    """A tensor of the tuple `values`, made once a device; safe to save for a backward."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
