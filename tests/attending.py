"""One attention, its inputs drawn, by way of an encoding and a kernel: values and gradients."""

import tiny
import torch
from formulas import BIASES, END, PAD, exact, order_of, visible
from torch.utils._python_dispatch import TorchDispatchMode

from nopos_plugin.attention import KERNELS, AttentionContext, attend, flex, tile_bias, tiles

DIM = 8


def kernels(gradient=True, dropout=0.0):
    """Those that can, on this device: FlexAttention refuses some (no backward on the CPU)."""
    q = torch.zeros(1, 1, 1, 1, requires_grad=gradient)
    return [name for name in KERNELS if name != "flex" or flex.refusal(q, dropout) is None]


def case(heads, length, side, seed=0, dim=DIM):
    """Tokens of three rows with no pads, some, and all but one, and q, k, v (3, H, S, D).

    side: of the pads; none, left, right, or both: one row left and one right.
    """
    tokens = tiny.tokens(3, length, seed)
    for row, pads in ((1, length // 3), (2, length - 1)):
        if side == "left" or (side == "both" and row == 1):
            tokens[row, :pads] = PAD
        elif side != "none":
            tokens[row, length - pads :] = PAD
    generator = torch.Generator().manual_seed(seed)
    return tokens, *(torch.randn(3, heads, length, dim, generator=generator) for _ in range(3))


def given_positions(kind, rows, length, seed=0):
    """(rows, length) int64 below 5000, another row another draw.

    chunks: runs of consecutive positions with gaps between them. scattered: rising, no two in
    sequence but by chance. repeated: rising, each several times. swapped: the second half of the
    rows before the first. shuffled: no order at all.
    """
    draw = torch.Generator().manual_seed(seed)
    count = torch.arange(length).repeat(rows, 1)
    if kind == "chunks":
        gaps = torch.rand(rows, length, generator=draw) < 5 / length
        gaps = gaps * torch.randint(1, 600, (rows, length), generator=draw)
        return count + gaps.cumsum(1)
    if kind == "scattered":
        return torch.randint(0, 5000, (rows, length), generator=draw).sort(1).values
    if kind == "repeated":
        return torch.randint(0, 1 + length // 3, (rows, length), generator=draw).sort(1).values
    if kind == "swapped":
        return count.roll(length // 2, dims=1) + 7 * torch.arange(rows).unsqueeze(1)
    return torch.rand(rows, length, generator=draw).argsort(1) * 3


def first_keys(tokens):
    """(B, S) int64: where the document of each token starts, at the last </s> up to it."""
    rows = []
    for row in tokens.tolist():
        begins = [0]
        for number, token in enumerate(row):
            begins.append(number if token == END else begins[-1])
        rows.append(begins[1:])
    return torch.tensor(rows, device=tokens.device)


def output(
    encoding,
    kernel,
    *tensors,  # tokens (B, S), q, k, v (B, H, S, D)
    new=None,
    given=None,
    dropout=0.0,
    window=None,
    documents=False,
):
    """(B, H, T, D) of the last `new` queries, by way of the encoding."""
    tokens, q, k, v = tensors
    placed = encoding.positions(tokens, given)
    q, k = encoding.rotate(q, k, encoding.rotation(placed.order, placed.order))
    first = tokens.size(1) - (new or tokens.size(1))
    context = AttentionContext(
        encoding,
        placed.order[:, first:],
        placed.order,
        placed.consecutive,
        key_pads=tokens.eq(PAD) if tokens.eq(PAD).any() else None,
        window=window,
        first_key=first_keys(tokens)[:, first:] if documents else None,
        kernel=kernel,
    )
    return attend(q[:, :, first:], k, v, context, 0, dropout)


def ours(encoding, kernel, tokens, q, k, v, **options):
    """`output`, and the gradients of q, k, v and the encoding's parameters."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    encoding.zero_grad()
    out = output(encoding, kernel, tokens, q, k, v, **options)
    (out.float() * upstream(out)).sum().backward()
    return [out.detach(), *(x.grad for x in (q, k, v)), *(p.grad for p in trained(encoding))]


def theirs(encoding, tokens, q, k, v, new=None, given=None, window=None, documents=False):
    """The same in float64 from the formulas."""
    q, k, v = (x.double().requires_grad_() for x in (q, k, v))
    weights = {key: p.detach().double().requires_grad_() for key, p in encoding.named_parameters()}
    order = order_of(encoding.name, tokens) if given is None else given
    queries = q[:, :, tokens.size(1) - (new or tokens.size(1)) :]
    seen = visible(tokens, window, documents)
    out = exact(encoding.name, weights, queries, k, v, order, seen)
    (out * upstream(out).double()).sum().backward()
    params = [weights[key].grad for key, p in encoding.named_parameters() if len(trained(encoding))]
    return [out.detach(), *(x.grad for x in (q, k, v)), *params[: len(trained(encoding))]]


def upstream(out):
    """The gradient of `out`, drawn."""
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.device)


def trained(encoding):
    """Parameters that attention, rather than the input, uses."""
    return [p for p in encoding.parameters() if encoding.name in BIASES and p.size(0) < 1024]


def assert_all_close(actual, expected, tolerance):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        tiny.assert_close(a, b, tolerance)


def small_tiles(monkeypatch, rows, keys, cells):
    """Make blockwise attention's tiles small, so that short attentions need many."""
    for module in (tiles, tile_bias):
        monkeypatch.setattr(module, "ROWS", rows, raising=module is tiles)
    monkeypatch.setattr(tiles, "KEYS", keys)
    monkeypatch.setattr(tiles, "CELLS", {"cpu": cells})


def in_chunks(decoder, tokens, sizes):
    """Logits as generation makes them, the tokens arriving in chunks of `sizes`."""
    cache, seen, made = {}, 0, []
    for size in sizes:
        seen += size
        made.append(decoder(tokens[:, :seen], incremental_state=cache)[0])
        assert made[-1].size(1) == size
    return torch.cat(made, 1)


class Products(TorchDispatchMode):
    """Counts the multiplications of batched matrix products, the largest storage of a result."""

    def __init__(self):
        super().__init__()
        self.count, self.largest = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.strip("_") in ("bmm", "baddbmm"):
            a, b = args[-2:]
            self.count += a.numel() * b.size(2)
        for made in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(made, torch.Tensor):
                self.largest = max(self.largest, made.untyped_storage().nbytes())
        return out


def visited(encoding, kernel, *tensors, **options):
    """Scores (of all heads and rows) that the forward computes: 2 D multiplications each."""
    with torch.no_grad(), Products() as products:
        output(encoding, kernel, *tensors, **options)
    return products.count / (2 * tensors[1].size(-1))
