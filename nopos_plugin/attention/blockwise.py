"""Attention tile by tile: memory linear in length, forward and backward, for every encoding."""

import math

import torch
import torch.nn.functional as F

from nopos_plugin.attention.tile_bias import TileBias
from nopos_plugin.attention.tiles import HIDDEN, Tiles

# Weights below 2^-64 are left out: of any number of keys they are less than float32 resolves.
NEGLIGIBLE = 64 * math.log(2)


def blockwise(q, k, v, context, layer, scale, dropout):
    """As `attend`. A query that sees no key gets zeros.

    Computed in float32. A block of queries meets its keys in tiles; each tile has a softmax of its
    own, and their log-sum-exps join the results. The backward makes the tiles anew. Keys that all
    queries of a block hide, or that a bias leaves no weight that float32 could resolve, cost
    nothing.
    """
    seed = int(torch.randint(2**62, ())) if dropout else None
    bias = context.bias_by_distance(layer)
    return _Blockwise.apply(q, k, v, bias, context, scale, dropout, seed)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, table, context, scale, dropout, seed):
        with torch.autocast(q.device.type, enabled=False):
            work = _Work(q, k, v, table, context, scale, dropout, seed)
            out = torch.empty_like(work.q)  # (B * H, T, D)
            lse = work.q.new_empty(*out.shape[:2], 1)  # log-sum-exp of a query's scores
            for group in work.tiles.groups():
                flat = group.flat
                for queries, tiles in work.tiles.blocks(group):
                    sums, parts = [], []
                    for tile in tiles:
                        scores, weights = work.weights(tile)
                        if not work.whole(tiles):
                            sums.append(log_sum_exp(scores, weights))
                        parts.append(work.drop(weights, tile) @ work.v[flat, tile.keys])
                    if work.whole(tiles):
                        out[flat, queries] = parts[0].flip(1)
                        continue
                    total = torch.cat(sums, -1).logsumexp(-1, keepdim=True)
                    joined = sum(part * (one - total).exp() for part, one in zip(parts, sums))
                    blind = total < HIDDEN / 2
                    out[flat, queries] = joined.masked_fill_(blind, 0.0).flip(1)
                    lse[flat, queries] = total.masked_fill_(blind, torch.inf).flip(1)
        out = out.view(q.shape)
        ctx.save_for_backward(q, k, v, table, out, lse)
        ctx.rest = context, scale, dropout, seed
        return out.to(q.dtype)

    @staticmethod
    def backward(ctx, grad):
        q, k, v, table, out, lse = ctx.saved_tensors
        context, scale, dropout, seed = ctx.rest
        with torch.autocast(q.device.type, enabled=False):
            work = _Work(q, k, v, table, context, scale, dropout, seed)
            learned = table is not None and ctx.needs_input_grad[3]
            delta = (grad * out).sum(-1, keepdim=True, dtype=torch.float).flatten(0, 1)
            grad = work.flat(grad)
            dq, dk, dv = (torch.empty_like(x) for x in (work.q, work.k, work.v))
            for group in work.tiles.groups():
                flat = group.flat
                # (batch * heads, D, S): a gradient of keys is summed in the layout that is fast
                dk_t, dv_t = (x.new_zeros(x[flat].mT.shape) for x in (dk, dv))
                for queries, tiles in work.tiles.blocks(group):
                    query, dquery = work.q[flat, queries].flip(1), 0.0
                    for tile in tiles:
                        scores, weights = work.weights(tile)
                        dout, offset = grad[flat, queries].flip(1), delta[flat, queries].flip(1)
                        if not work.whole(tiles):
                            share = log_sum_exp(scores, weights) - lse[flat, queries].flip(1)
                            dout, offset = dout * share.exp_(), offset * share
                        room = work.room("keys", dout.size(0), dout.size(2), weights.size(2))
                        dropped = work.drop(weights, tile)
                        dv_t[:, :, tile.keys] += torch.bmm(dout.mT, dropped, out=room)
                        dscores = work.room("scores", *weights.shape)
                        torch.bmm(dout, work.v[flat, tile.keys].mT, out=dscores)
                        dscores = work.drop(dscores, tile)
                        dscores.sub_(offset).mul_(weights)
                        if learned:
                            work.bias.accumulate(dscores, tile)
                        dk_t[:, :, tile.keys] += torch.bmm(query.mT, dscores, out=room)
                        dquery = dquery + dscores @ work.k[flat, tile.keys]
                    dq[flat, queries] = dquery.flip(1)
                dk[flat], dv[flat] = dk_t.mT, dv_t.mT
            dq, dk, dv = (
                dx.view(x.shape).to(x.dtype) for dx, x in ((dq * scale, q), (dk, k), (dv, v))
            )
            dtable = work.bias.table_gradient() if learned else None
        return dq, dk, dv, dtable, None, None, None, None


def log_sum_exp(scores, weights):
    """Of `scores` whose softmax is `weights`: the largest weight is exp(largest score - it)."""
    return scores.amax(-1, keepdim=True) - weights.amax(-1, keepdim=True).log()


class _Work:
    """What forward and backward share: float32 inputs, and the weights of a tile."""

    def __init__(self, q, k, v, table, context, scale, dropout, seed):
        self.q, self.k, self.v = self.flat(q) * scale, self.flat(k), self.flat(v)
        self.bias = None if table is None else TileBias(table, context, self.room)
        self.tiles = Tiles(context, q.size(0), q.size(1), self.reach(table, context, q.size(1)))
        self.dropout, self.seed = dropout, seed
        self.rooms = {}

    @staticmethod
    def flat(x):
        """(B, H, T, D) -> (B * H, T, D) contiguous float32"""
        return x.float().flatten(0, 1).contiguous()

    def room(self, name, *shape):
        """Uninitialised memory for something of the size of a tile, the same at every call.

        (Allocating anew costs a sixth of the time on a CPU.)
        """
        size = math.prod(shape)
        if name not in self.rooms or self.rooms[name].numel() < size:
            self.rooms[name] = self.q.new_empty(size)
        return self.rooms[name][:size].view(shape)

    def reach(self, table, context, heads):
        """For each head the distance from which on no weight reaches 2^-64, or None: not known.

        No weight exceeds exp(bias(d) - bias(0) + 2 max|q| max|k|), since a query sees itself.
        """
        if table is None or context.key_pads is not None or not context.never_falls:
            return None
        longest = (
            x.norm(dim=-1).amax(1).unflatten(0, (-1, heads)).amax(0) for x in (self.q, self.k)
        )
        bound = NEGLIGIBLE + 2 * math.prod(longest)  # (H,)
        counts = table.detach() - table.detach()[:, :1] > -bound[:, None]
        distance = torch.arange(1, table.size(1) + 1, device=table.device)
        return (counts * distance).amax(1).clamp(min=1).tolist()

    def weights(self, tile):
        """Softmax over the keys of `tile`, (batch * heads, rows, keys), and its log-sum-exp."""
        flat = tile.group.flat
        query, key = self.q[flat, tile.queries].flip(1), self.k[flat, tile.keys].mT
        scores = self.room("scores", *query.shape[:2], key.size(2))
        if self.bias is None:
            torch.bmm(query, key, out=scores)
        else:
            self.bias.write(scores, tile)
            scores.baddbmm_(query, key)
        self.tiles.hide(scores, tile)
        weights = torch.softmax(scores, -1, out=self.room("weights", *scores.shape))
        return scores, weights

    def whole(self, tiles):
        """Do the softmaxes of `tiles` need no joining? (A single one still may hide all keys.)"""
        return len(tiles) == 1 and self.tiles.context.key_pads is None

    def drop(self, x, tile):
        """`x`, of the shape of the weights of `tile`, with the cells dropped that always are."""
        if not self.dropout:
            return x
        generator = torch.Generator(x.device).manual_seed(self.seed + tile.number)
        kept = torch.empty_like(x).bernoulli_(1 - self.dropout, generator=generator)
        return x * kept.div_(1 - self.dropout)
