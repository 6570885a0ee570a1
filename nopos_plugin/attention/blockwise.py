"""Attention tile by tile: memory linear in length, forward and backward, for every encoding."""

import math
import threading

import torch
import torch.nn.functional as F

from nopos_plugin.attention.tile_bias import TileBias
from nopos_plugin.attention.tiles import HIDDEN, Tiles

# Weights up to 2^-64 are left out: of any number of keys they are less than float32 resolves.
NEGLIGIBLE = 64
# Weights from 2^-126 to 2^-149 are subnormal, which makes products a hundred times as slow on CPUs.
SUBNORMAL = 126
# Scores are kept in units of ln 2: weights are powers of two then. PyTorch's exp calls a library
# that takes a hundred times as long for what underflows; exp2 does not.
UNIT = math.log2(math.e)


def blockwise(q, k, v, context, layer, scale, dropout):
    """As `attend`. A query that sees no key gets zeros.

    Computed in float32. A block of queries meets its keys in tiles, whose results are joined. The
    backward makes the tiles anew. Keys that all queries of a block hide, or to which a bias leaves
    no weight that float32 could resolve, cost nothing.
    """
    seed = int(torch.randint(2**62, ())) if dropout else None
    bias = context.bias_by_distance(layer)
    return _Blockwise.apply(q, k, v, bias, context, scale, dropout, seed)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, table, context, scale, dropout, seed):
        with torch.autocast(q.device.type, enabled=False):
            work = _Work(q, k, v, table, context, scale, dropout, seed)
            out = like_projections(q)
            # Of a query's scores the largest, and the sum of 2^(score - largest).
            shape = 2, q.size(0) * q.size(1), q.size(2), 1
            largest, total = torch.empty(shape, dtype=torch.float32, device=q.device)
            for group in work.tiles.groups():
                for rows, tiles in work.tiles.blocks(group):
                    query, at = flat(group.part(q, rows)), (group.flat, rows)
                    whole = join(work.result(query, tile) for tile in tiles)
                    largest[at], total[at] = whole[0], work.seen(*whole[:2])
                    write(group.part(out, rows), whole[2] / total[at])
        ctx.save_for_backward(q, k, v, table, out, largest, total)
        ctx.rest = context, scale, dropout, seed
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, table, out, largest, total = ctx.saved_tensors
        context, scale, dropout, seed = ctx.rest
        with torch.autocast(q.device.type, enabled=False):
            work = _Work(q, k, v, table, context, scale, dropout, seed)
            learned = table is not None and ctx.needs_input_grad[3]
            dq, dk, dv = map(like_projections, (q, k, v))
            for group in work.tiles.groups():
                # (batch * heads, D, S): a gradient of keys is summed in the layout that is fast
                dk_t, dv_t = (
                    work.room(name, *x[group.flat].mT.shape).zero_()
                    for name, x in (("dk", work.k), ("dv", work.v))
                )
                for rows, tiles in work.tiles.blocks(group):
                    at = group.flat, rows
                    query, dout, result = (flat(group.part(x, rows)) for x in (q, grad, out))
                    offset = (dout * result).sum(-1, keepdim=True) / total[at]
                    dout = dout / total[at]
                    dquery = 0.0
                    for tile in tiles:
                        scores = work.scores(query, tile)
                        weights = work.weights(scores, tile, largest[at])
                        room = work.room("keys", dout.size(0), dout.size(2), weights.size(2))
                        dropped = work.drop(weights, tile)
                        dv_t[:, :, tile.columns].add_(torch.bmm(dout.mT, dropped, out=room))
                        dscores = work.room("gradient", *weights.shape)
                        torch.bmm(dout, work.v[group.flat, tile.columns].mT, out=dscores)
                        dscores = work.drop(dscores, tile).sub_(offset).mul_(weights)
                        if learned:
                            work.bias.accumulate(dscores, tile)
                        dk_t[:, :, tile.columns].add_(torch.bmm(query.mT, dscores, out=room))
                        dquery = dquery + dscores @ work.k[group.flat, tile.columns]
                    write(group.part(dq, rows), dquery * scale)
                write(group.part(dk, slice(None)), dk_t.mul_(scale).flip(2).mT)
                write(group.part(dv, slice(None)), dv_t.flip(2).mT)
            dtable = work.bias.table_gradient() if learned else None
        return dq, dk, dv, dtable, None, None, None, None


def join(results):
    """As `_Work.result`, of all keys, from those of tiles."""
    largest, total, out = next(results)
    for other_largest, other_total, other_out in results:
        most = torch.maximum(largest, other_largest)
        one, other = (largest - most).exp2(), (other_largest - most).exp2()
        largest, total = most, total * one + other_total * other
        out = out * one + other_out * other
    return largest, total, out


def flat(part):
    """(batch, heads, rows, D) -> (batch * heads, rows, D) float32"""
    return part.flatten(0, 1).float()


def write(part, values):
    """Make `part` (batch, heads, rows, D) the `values` (batch * heads, rows, D)."""
    part.copy_(values.unflatten(0, part.shape[:2]))


def like_projections(x):
    """Uninitialised (B, H, T, D) like `x`, laid out (T, B, H, D) as projections have it."""
    return torch.empty_like(x.permute(2, 0, 1, 3), memory_format=torch.contiguous_format).permute(
        1, 2, 0, 3
    )


class Room:
    """Uninitialised float32 memory, for one name always the same.

    On a CPU it stays for the next attention, a few tiles and copies of keys: memory that is new to
    a process costs as much time as what is computed in it.
    """

    kept = threading.local()

    def __init__(self, device):
        self.device, self.memory = device, {}
        if device.type == "cpu":
            self.memory = self.kept.__dict__

    def __call__(self, name, *shape):
        size = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < size:
            self.memory.pop(name, None)
            with torch.inference_mode(False):
                self.memory[name] = torch.empty(size, dtype=torch.float32, device=self.device)
        return self.memory[name][:size].view(shape)


class _Work:
    """What forward and backward share: keys and values in float32 and in reverse, the weights."""

    def __init__(self, q, k, v, table, context, scale, dropout, seed):
        self.room = Room(q.device)
        self.k, self.v = (self.reversed(name, x) for name, x in (("k", k), ("v", v)))
        table = None if table is None else table.detach() * UNIT
        self.bias = None if table is None else TileBias(table, context, self.room)
        self.scale, self.dropout, self.seed = scale * UNIT, dropout, seed
        longest = [torch.linalg.vector_norm(x.float(), dim=-1).amax((0, 2)) for x in (q, k)]
        spread = 2 * self.scale * longest[0] * longest[1]  # (H,), of a query's products with keys
        self.tiles = Tiles(context, q.size(0), q.size(1), self.reach(table, context, spread))
        self.fades = self.fading(table, spread)

    def reversed(self, name, x):
        """(B, H, S, D) -> (B * H, S, D) contiguous float32, the last row first"""
        last = x.size(2) - 1
        rows = last - torch.arange(last + 1, device=x.device)
        return torch.index_select(x.float(), 2, rows, out=self.room(name, *x.shape)).flatten(0, 1)

    def reach(self, table, context, spread):
        """For each head the distance from which on no weight exceeds 2^-64, or None: not known.

        No weight exceeds 2^(bias(d) - bias(0) + spread), since a query sees itself.
        """
        if table is None or context.key_pads is not None or not context.never_falls:
            return None
        bound = (NEGLIGIBLE + spread).unsqueeze(1)
        negligible = table - table[:, :1] < -bound  # not for NaN
        distance = torch.arange(1, table.size(1) + 1, device=table.device)
        return distance.masked_fill(negligible, 0).amax(1).tolist()

    def fading(self, table, spread):
        """For each head: may a weight be subnormal? None is below 2^(min - max bias - spread)."""
        if table is not None:
            spread = spread + table.amax(1) - table.amin(1)
        return (spread > SUBNORMAL).tolist()

    def scores(self, query, tile):
        """(batch * heads, *tile.shape), in units of ln 2, hidden ones below HIDDEN / 2"""
        scores = self.room("scores", query.size(0), *tile.shape)
        if self.bias is not None:
            self.bias.write(scores, tile)
        key = self.k[tile.group.flat, tile.columns].mT
        scores.baddbmm_(query, key, beta=self.bias is not None, alpha=self.scale)
        self.tiles.hide(scores, tile)
        return scores

    def weights(self, scores, tile, largest):
        """2^(scores - largest), in place; largest: (batch * heads, rows, 1)"""
        scores.sub_(largest)
        if any(self.fades[tile.group.heads]):
            F.threshold_(scores, -NEGLIGIBLE, HIDDEN)
        return scores.exp2_()

    def result(self, query, tile):
        """The largest score, the sum of the weights, and the weighted sum of the values."""
        scores = self.scores(query, tile)
        largest = scores.amax(-1, keepdim=True)
        weights = self.weights(scores, tile, largest)
        total = weights.sum(-1, keepdim=True)
        return largest, total, self.drop(weights, tile) @ self.v[tile.group.flat, tile.columns]

    def seen(self, largest, total):
        """`total`, but infinite for queries that see no key."""
        if self.tiles.context.key_pads is None:
            return total
        return total.masked_fill(largest < HIDDEN / 2, torch.inf)

    def drop(self, x, tile):
        """`x`, of the shape of the weights of `tile`, without the cells that dropout takes."""
        if not self.dropout:
            return x
        generator = torch.Generator(x.device).manual_seed(self.seed + tile.number)
        kept = torch.empty_like(x).bernoulli_(1 - self.dropout, generator=generator)
        return x * kept.div_(1 - self.dropout)
