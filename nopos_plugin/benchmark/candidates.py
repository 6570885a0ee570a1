"""What is timed: the attention of one layer, with an encoding and a kernel; and the floor."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from nopos_plugin import positions
from nopos_plugin.attention import AttentionContext, attend
from nopos_plugin.attention.attend import choose
from nopos_plugin.benchmark import corpus
from nopos_plugin.positions.options import format_config

FLOOR = "floor"  # a kernel of ours is never called so, nor "dense"
DENSE = "dense"


@dataclass(frozen=True)
class Sizes:
    """Of one attention: B, H, D, T, and where it runs."""

    batch: int
    heads: int
    head_dim: int
    length: int
    dtype: str  # of torch
    device: str
    window: int | None
    seed: int


def build_encoding(name, sizes):
    """The encoding `name` with its default options; ValueError if the sizes do not fit it."""
    torch.manual_seed(sizes.seed)
    shape = positions.Shape(
        num_heads=sizes.heads,
        head_dim=sizes.head_dim,
        embed_dim=sizes.heads * sizes.head_dim,
        num_layers=1,
        max_length=sizes.length,
        dictionary=corpus.dictionary(),
    )
    encoding = positions.build(name, {}, shape)
    return encoding.to(sizes.device, getattr(torch, sizes.dtype))


class Inputs:
    """Random projections, laid out as in a layer, and the gradient that comes back to it."""

    def __init__(self, sizes):
        self.sizes = sizes
        self.tokens = corpus.tokens(sizes.batch, sizes.length, sizes.seed).to(sizes.device)
        shape = (sizes.length, sizes.batch, sizes.heads * sizes.head_dim)  # (T, B, C)
        generator = torch.Generator().manual_seed(sizes.seed)
        drawn = [torch.randn(shape, generator=generator) for _ in range(4)]
        *vectors, self.gradient = (x.to(sizes.device, getattr(torch, sizes.dtype)) for x in drawn)
        self.vectors = [x.requires_grad_() for x in vectors]

    def heads(self, x):
        """(T, B, C) -> (B, H, T, D), a view as in a layer"""
        return x.unflatten(2, (self.sizes.heads, self.sizes.head_dim)).permute(1, 2, 0, 3)


class Candidate:
    """The attention of one layer over `inputs`; positions and angles are made once, not timed."""

    def __init__(self, encoding, kernel, inputs):
        """encoding: a PositionEncoding, or None with the kernel FLOOR."""
        self.encoding, self.kernel, self.inputs = encoding, kernel, inputs
        self.placed = None if encoding is None else encoding.positions(inputs.tokens)
        self.rotation = None if encoding is None else encoding.rotation(*[self.placed.order] * 2)
        self.parameters = () if encoding is None else tuple(encoding.parameters())

    def forward(self):
        """As in evaluation."""
        with torch.no_grad():
            self._attention()

    def forward_backward(self):
        """As in training: gradients of queries, keys, values and the encoding's parameters."""
        trained = (*self.inputs.vectors, *self.parameters)
        gradient = self.inputs.heads(self.inputs.gradient)
        torch.autograd.grad(self._attention(), trained, gradient, allow_unused=True)

    def options(self):
        """The encoding's, as text."""
        return None if self.encoding is None else format_config(self.encoding.config)

    def served(self):
        """The kernel, or of `auto` the one that it takes."""
        if self.kernel in (FLOOR, DENSE):
            return self.kernel
        q = self.inputs.heads(self.inputs.vectors[0])
        return choose(q, self._context(), layer=0, dropout=0.0)[0]

    def _attention(self):
        """(B, H, T, D)"""
        q, k, v = map(self.inputs.heads, self.inputs.vectors)
        if self.kernel == FLOOR:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        q, k = self.encoding.rotate(q, k, self.rotation)
        context = self._context()
        if self.kernel == DENSE:
            return dense(q, k, v, context)
        return attend(q, k, v, context, layer=0)

    def _context(self):
        return AttentionContext(
            encoding=self.encoding,
            query_order=self.placed.order,
            key_order=self.placed.order,
            consecutive=self.placed.consecutive,
            key_pads=self.placed.pads,
            window=self.inputs.sizes.window,
            rotation=self.rotation,
            kernel=self.kernel,
        )


def training_call(name, kernel, sizes):
    """forward_backward of a candidate, after one of its like that is tiny: libraries are loaded."""
    for each in (replace(sizes, batch=1, length=min(sizes.length, 16)), sizes):
        encoding = None if name is None else build_encoding(name, each)
        candidate = Candidate(encoding, kernel, Inputs(each))
        if each is not sizes:
            candidate.forward_backward()
    return candidate.forward_backward


def dense(q, k, v, context):
    """As the projects did it that these encodings come from: one mask for bias and causality.

    PyTorch's fused kernels take such a mask unless it needs a gradient.
    """
    bias = context.bias(layer=0)
    mask = torch.zeros((), device=q.device) if bias is None else bias
    mask = mask.to(q.dtype).masked_fill(context.hidden(), -torch.inf)  # (B or 1, H or 1, T, T)
    scale = context.encoding.logit_scale * q.size(-1) ** -0.5
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
