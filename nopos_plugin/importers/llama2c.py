"""The files of llama2.c: seven integers, then float32 numbers of a LLaMA."""

import math
from itertools import pairwise

import numpy as np
import torch

from nopos_plugin.importers import base
from nopos_plugin.importers.base import Imported

HEADER = 7


def sizes(header):
    """[(name, shape)] of a file with this header, in their order."""
    dim, inner, layers, heads, kv_heads, rows, length = header
    shared = dim // heads * kv_heads
    found = [
        ("embedding", (abs(rows), dim)),
        (base.ATTENTION_NORM, (layers, dim)),
        (base.Q, (layers, dim, dim)),
        (base.K, (layers, shared, dim)),
        (base.V, (layers, shared, dim)),
        (base.OUT, (layers, dim, dim)),
        (base.FEED_FORWARD_NORM, (layers, dim)),
        ("gate", (layers, inner, dim)),
        (base.FC2, (layers, dim, inner)),
        ("value", (layers, inner, dim)),
        ("norm", (dim,)),
        ("cosines", (length, dim // heads // 2)),
        ("sines", (length, dim // heads // 2)),
    ]
    # fewer than none says that the output matrix is one of its own
    return found if rows > 0 else [*found, ("output", (-rows, dim))]


def recognises(path):
    """Is the file as long as its header says?"""
    if path.stat().st_size < 4 * HEADER:
        return False
    header = np.fromfile(path, dtype="<i4", count=HEADER).tolist()
    if min(*header[:5], header[6]) < 1 or header[5] == 0 or header[0] % header[3]:
        return False
    if max(map(abs, header)) > 10**7:
        return False
    count = sum(math.prod(shape) for _, shape in sizes(header))
    return path.stat().st_size == 4 * (HEADER + count)


def convert(source):
    """The Imported of the file `source.path`."""
    header = np.fromfile(source.path, dtype="<i4", count=HEADER).tolist()
    dim, inner, num_layers, heads, kv_heads, rows, length = header
    numbers = torch.from_numpy(np.fromfile(source.path, dtype="<f4", offset=4 * HEADER))
    shapes = sizes(header)
    ends = np.cumsum([0, *(math.prod(shape) for _, shape in shapes)]).tolist()
    parts = {
        name: numbers[start:stop].view(shape)
        for (name, shape), (start, stop) in zip(shapes, pairwise(ends), strict=True)
    }
    pairs = dim // heads // 2
    angles = torch.outer(torch.arange(length), 10000 ** -(torch.arange(pairs) / pairs))
    for name, expected in (("cosines", angles.cos()), ("sines", angles.sin())):
        if not torch.allclose(parts[name], expected, atol=0.01):
            raise ValueError(
                f"{source.path}: its {name} are not of base 10,000, which is all that is known here"
            )
    tensors = {base.EMBEDDING: parts["embedding"], f"{base.FINAL_NORM}.weight": parts["norm"]}
    if "output" in parts:
        tensors[base.OUTPUT] = parts["output"]
    for number in range(num_layers):
        for name in (
            base.Q, base.K, base.V, base.OUT, base.FC2, base.ATTENTION_NORM, base.FEED_FORWARD_NORM
        ):  # fmt: skip
            tensors[base.layer(number, f"{name}.weight")] = parts[name][number]
        gate = base.joined(parts[name][number] for name in ("gate", "value"))
        tensors[base.layer(number, f"{base.FC1}.weight")] = gate
    return Imported(
        kind="a file of llama2.c",
        encoding="rope",
        position_args={"layout": "interleaved"},
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm": "rms",
            "decoder_no_bias": True,
            "decoder_glu": "swiglu",
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_kv_heads": kv_heads if kv_heads != heads else None,
            "decoder_ffn_embed_dim": inner,
            "share_decoder_input_output_embed": "output" not in parts,
        },
        tensors=tensors,
        length=length,
        special={"bos": 1, "eos": 2},
        dropped=dict.fromkeys(("cosines", "sines"), "made anew from theta"),
    )
