"""Memory: how much the machine has, and what an attention will need, before it is tried."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nopos_plugin.benchmark import corpus
from nopos_plugin.benchmark.candidates import build_encoding

# Copies of tensors (B or 1, H, T, T) float32, as the bias is, and (B, H, T, T), as the scores are:
# those of one forward+backward at its peak, and those that wait for the backward. Measured as
# `peak` does, on a CPU with torch 2.13; learned is kerple_log, which has more than t5.
NO_COPIES = ((0.0, 0.0), (0.0, 0.0))
COPIES = {
    ("dense", "none"): NO_COPIES,
    ("dense", "fixed"): ((2.1, 0.0), (1.0, 0.0)),
    ("dense", "learned"): ((4.4, 2.3), (3.3, 1.2)),
    ("sdpa", "fixed"): ((3.1, 0.0), (1.1, 0.0)),
    ("sdpa", "learned"): ((3.8, 3.0), (3.3, 1.2)),
    ("reference", "none"): ((0.0, 3.2), (0.0, 2.1)),
    ("reference", "fixed"): ((1.1, 3.1), (0.0, 2.1)),
    ("reference", "learned"): ((3.4, 3.2), (2.3, 2.1)),
}
MASKS = 1.5  # copies of (B or 1, T, T) float32, distances and masks, that these have besides
SAMPLE = 2  # tokens that show how an encoding places them
VECTORS = 24  # copies of (B, H, T, D) float32 that any kernel may have, its inputs among them


@dataclass(frozen=True)
class BiasShape:
    """What of an encoding decides how large a dense bias is."""

    kind: str = "none"  # none, fixed or learned
    per_row: bool = False  # another one for every row of the batch

    @classmethod
    def of(cls, name, sizes):
        """That of the encoding `name`, or None for no encoding."""
        if name is None:
            return cls()
        encoding = build_encoding(name, replace(sizes, length=SAMPLE, device="cpu"))
        if encoding.bias is None:
            return cls()
        zero = torch.tensor(0)
        learned = encoding.bias(zero, zero, 0).requires_grad
        placed = encoding.positions(corpus.tokens(1, SAMPLE, seed=0))
        return cls("learned" if learned else "fixed", not placed.consecutive)


def estimated_bytes(kernel, bias, sizes, layers=1):
    """What forward and backward of `layers` attentions need at their peak, inputs included."""
    square, rows = 4 * sizes.length**2, sizes.batch if bias.per_row else 1
    peak, waiting = COPIES.get((kernel, bias.kind), NO_COPIES)
    copies = [one + (layers - 1) * other for one, other in zip(peak, waiting, strict=True)]
    total = sizes.heads * square * (copies[0] * rows + copies[1] * sizes.batch)
    total += VECTORS * layers * 4 * sizes.batch * sizes.heads * sizes.length * sizes.head_dim
    masked = (kernel, bias.kind) in COPIES or (kernel == "sdpa" and sizes.window is not None)
    return int(total + masked * MASKS * rows * square)


def machine_bytes(device):
    """Memory of the GPU, or of the machine or what its control group leaves of it."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *control_group_limits()])


def control_group_limits(root=Path("/sys/fs/cgroup"), groups=Path("/proc/self/cgroup")):
    """Bytes that the control groups (version 1 or 2) of this process allow, above it too."""
    lines = groups.read_text().splitlines() if groups.exists() else ()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        own = Path(path)
        for group in (own, *own.parents):
            file = root / controllers / str(group).lstrip("/") / name
            if file.exists() and file.read_text().strip().isdigit():
                yield int(file.read_text())
