"""PyTorch's FlexAttention: bias and mask inside one fused kernel, on CUDA."""

import functools

import torch
import torch.nn.functional as F
from torch.utils._triton import has_triton
from torch.utils.weak import WeakIdKeyDictionary

from nopos_plugin.attention.flex_mask import shared_by_layers, whole_blocks

try:
    from torch.nn.attention.flex_attention import flex_attention
except ImportError:  # before torch 2.5
    flex_attention = None

# Dimensions a head: at least what the kernel multiplies, at most what every GPU's memory holds.
SMALLEST, LARGEST = 16, {torch.float16: 128, torch.bfloat16: 128, torch.float32: 64}
# Looked-up entries are held like keys: with the blocks that PyTorch chooses, too many for an H100.
TABLE_OPTIONS = {"BLOCK_M": 64, "BLOCK_N": 64, "num_stages": 2}
GRAPHS = 64  # compiled variants at most; one more is an error, not a fallback to unfused formulas


def refusal(q, dropout, context=None, layer=0, others=()):
    """Why FlexAttention cannot serve queries `q` (B, H, T, D), a clause; None if it can.

    others: keys and values. Without a context the bias is not asked about.
    """
    if flex_attention is None:
        return f"torch {torch.__version__} has no FlexAttention"
    if dropout:
        return f"it drops no attention weights, and --attention-dropout is {dropout}"
    if not q.is_cuda:
        gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (q, *others))
        return "it has no backward on a CPU" if gradient or learns(context, layer) else None
    if q.dtype not in LARGEST:
        return f"it takes float16, bfloat16 and float32, not {q.dtype}"
    if not SMALLEST <= q.size(-1) <= LARGEST[q.dtype]:
        return (
            f"it takes {SMALLEST} to {LARGEST[q.dtype]} dimensions a head in {q.dtype}, "
            f"not {q.size(-1)}"
        )
    if torch.are_deterministic_algorithms_enabled() and learns(context, layer):
        return "it sums a learned bias' gradient in no fixed order, and torch is to keep to one"
    if not has_triton() or torch.cuda.get_device_capability(q.device) < (8, 0):
        return "it needs triton, and a GPU of compute capability 8.0 or more"
    return None


def learns(context, layer):
    """Does a gradient flow into the bias in `layer`?"""
    if context is None or context.encoding.bias is None:
        return False
    zero = torch.zeros(1, dtype=torch.long, device=context.key_order.device)
    return context.encoding.bias(zero, zero, layer).requires_grad


def flex(q, k, v, context, layer, scale, dropout):
    """As `attend`. A query that sees no key gets zeros.

    On CUDA one compiled kernel, its memory linear in length: blocks of keys that all queries of a
    block hide are never computed, those that all see are not masked. On a CPU PyTorch's unfused
    formula, forward only. The gradient of a learned bias is summed by atomic additions and differs
    in its last bits from run to run: `--attention-kernel blockwise` is the deterministic one.
    Raises ValueError for what `refusal` names.
    """
    why = refusal(q, dropout, context, layer, (k, v))
    if why is not None:
        raise ValueError(
            f"--attention-kernel flex: {why}; use --attention-kernel auto or blockwise"
        )
    shared = shared_by_layers(context, q.size(0))
    filled = [fill(x.to(q.dtype)) for x in (q, k, v)]
    with torch.autocast(q.device.type, enabled=False):
        score_mod, options = score_mod_of(context, layer, shared.distance)
        if q.is_cuda:
            kernel = compiled()
        else:
            # detached: it looks for the need of a gradient even where none is computed
            kernel, filled = flex_attention, [x.detach() for x in filled]
        mask = shared.block_mask
        out = kernel(*filled, score_mod, mask, scale, kernel_options=options)
    return out[:, :, : q.size(2)]


@functools.cache
def compiled():
    """flex_attention, compiled at its first call and again where it must be.

    That is: for other dtypes, head sizes, scales and kinds of bias and mask, with and without
    gradients; once for lengths and once for batch sizes that vary, which are dynamic from then on;
    and for sizes of one (a single row, a single block). Functions that are made anew in every layer
    are told apart by their code and by what kinds of tensor they capture: no layer, and no length
    after the second, compiles anything. So they capture tensors, never numbers.
    """
    from torch._dynamo import config

    return config.patch(cache_size_limit=GRAPHS)(torch.compile(flex_attention, fullgraph=True))


def fill(x):
    """`x` (B, H, T, D) with zeros, up to whole blocks.

    Other lengths take less trodden paths in the kernel, where gradients were NaN
    (pytorch/pytorch#153799), and short ones take another kernel.
    """
    missing = whole_blocks(x.size(2)) - x.size(2)
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def score_mod_of(context, layer, distance):
    """What adds the float32 bias in `layer` to a score, or None, and options of the kernel."""
    if context.encoding.bias is None:
        return None, None
    slopes = slopes_of(context, layer)
    if slopes is not None:
        return lambda score, b, h, query, key: score + slopes[h] * distance(b, query, key), None
    table = context.bias_by_distance(layer)
    # Zeros for the distances of the queries that fill up.
    table = F.pad(table, (0, whole_blocks(table.size(1)) - table.size(1)))
    return lambda score, b, h, query, key: score + table[h, distance(b, query, key)], TABLE_OPTIONS


_slopes = WeakIdKeyDictionary()  # encoding -> {(layer, device): what slopes_of gives}


def slopes_of(context, layer):
    """(H,) if the bias is slope * distance and without parameters that could change it, else None.

    Found by trying, once for each encoding: a multiplication costs less than looking up a table.
    (A score_mod that calls `bias` itself does not compile: its constants cannot be lowered.)
    """
    encoding, device = context.encoding, context.key_order.device
    if next(encoding.parameters(), None) is not None:
        return None
    known = _slopes.setdefault(encoding, {})
    if (layer, device) not in known:
        with torch.inference_mode(False):
            head = torch.arange(encoding.shape.num_heads, device=device).unsqueeze(1)
            distance = torch.arange(2**18, device=device)
            slopes = encoding.bias(head, torch.ones_like(head), layer)  # (H, 1)
            bias = encoding.bias(head, distance, layer).expand(len(head), len(distance))
            linear = torch.equal(bias, slopes * distance)
        known[layer, device] = slopes.squeeze(1) if linear else None
    return known[layer, device]
