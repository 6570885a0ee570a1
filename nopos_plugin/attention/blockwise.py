"""Attention tile by tile: memory linear in length, forward and backward, for every encoding."""

import math

import torch

from nopos_plugin.attention.tile_bias import TileBias
from nopos_plugin.attention.tiles import HIDDEN, Tiles

# Weights below 2^-64 are left out: of any number of keys they are less than float32 resolves.
NEGLIGIBLE = 64 * math.log(2)


def blockwise(q, k, v, context, layer, scale, dropout):
    """As `attend`. A query that sees no key gets zeros.

    Computed in float32. A block of queries meets its keys in tiles; each tile has a softmax of its
    own, and their log-sum-exps join the results. The backward makes the tiles anew. Keys that all
    queries of a block hide, or to which a bias leaves no weight that float32 could resolve, cost
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
            out = torch.empty_like(work.q)  # (B * H, T, D), queries in reverse
            lse = work.q.new_empty(*out.shape[:2], 2)  # of a query's scores, as log_sum_exp gives
            for group in work.tiles.groups():
                flat = group.flat
                for rows, tiles in work.tiles.blocks(group):
                    joins, sums, parts = work.joins(tiles), [], []
                    for tile in tiles:
                        scores, weights = work.weights(tile)
                        if joins:
                            sums.append(log_sum_exp(scores, weights))
                        parts.append(work.drop(weights, tile) @ work.v[flat, tile.keys])
                    if joins:
                        out[flat, rows], lse[flat, rows] = join(parts, sums)
                    else:
                        out[flat, rows] = parts[0]
        # Laid out (T, B, H, D), as the projection after it wants it.
        out = out.flip(1).view(q.shape).to(q.dtype).permute(2, 0, 1, 3).contiguous()
        out = out.permute(1, 2, 0, 3)
        ctx.save_for_backward(q, k, v, table, out, lse)
        ctx.rest = context, scale, dropout, seed
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, table, out, lse = ctx.saved_tensors
        context, scale, dropout, seed = ctx.rest
        with torch.autocast(q.device.type, enabled=False):
            work = _Work(q, k, v, table, context, scale, dropout, seed)
            learned = table is not None and ctx.needs_input_grad[3]
            delta = flat_float((grad.float() * out).sum(-1, keepdim=True)).flip(1)
            grad = flat_float(grad).flip(1)
            dq, dk, dv = (torch.empty_like(x) for x in (work.q, work.k, work.v))
            for group in work.tiles.groups():
                flat = group.flat
                # (batch * heads, D, S): a gradient of keys is summed in the layout that is fast
                dk_t, dv_t = (x.new_zeros(x[flat].mT.shape) for x in (dk, dv))
                for rows, tiles in work.tiles.blocks(group):
                    dquery = 0.0
                    for tile in tiles:
                        scores, weights = work.weights(tile)
                        dout, offset = grad[flat, rows], delta[flat, rows]
                        if work.joins(tiles):
                            part = log_sum_exp(scores, weights)
                            share = (part - lse[flat, rows]).sum(-1, keepdim=True).exp()
                            dout, offset = dout * share, offset * share
                        room = work.room("keys", dout.size(0), dout.size(2), weights.size(2))
                        dropped = work.drop(weights, tile)
                        dv_t[:, :, tile.keys] += torch.bmm(dout.mT, dropped, out=room)
                        dscores = work.room("scores", *weights.shape)
                        torch.bmm(dout, work.v[flat, tile.keys].mT, out=dscores)
                        dscores = work.drop(dscores, tile).sub_(offset).mul_(weights)
                        if learned:
                            work.bias.accumulate(dscores, tile)
                        dk_t[:, :, tile.keys] += torch.bmm(work.q[flat, rows].mT, dscores, out=room)
                        dquery = dquery + dscores @ work.k[flat, tile.keys]
                    dq[flat, rows] = dquery
                dk[flat], dv[flat] = dk_t.mT, dv_t.mT
            dq = (dq * scale).flip(1)
            dtable = work.bias.table_gradient() if learned else None
        dq, dk, dv = (dx.view(x.shape).to(x.dtype) for dx, x in ((dq, q), (dk, k), (dv, v)))
        return dq, dk, dv, dtable, None, None, None, None


def join(parts, sums):
    """Results of tiles (N, rows, D) as one, and its log-sum-exp, from theirs (N, rows, 2)."""
    largest, logs = torch.stack(sums).split(1, dim=-1)  # (tiles, N, rows, 1)
    most = largest.amax(0)
    logs = logs + (largest - most)
    total = logs.logsumexp(0)
    joined = sum(part * (log - total).exp() for part, log in zip(parts, logs, strict=True))
    blind = most < HIDDEN / 2  # sees no key
    lse = torch.cat([most.masked_fill(blind, torch.inf), total], dim=-1)
    return joined.masked_fill_(blind, 0.0), lse


def log_sum_exp(scores, weights):
    """Of `scores` whose softmax is `weights`, in two summands: the largest score, and the rest.

    (N, rows, 2). Summed up, large scores would round the rest away. The largest weight is
    exp(-rest).
    """
    rest = -weights.amax(-1, keepdim=True).log()
    return torch.cat([scores.amax(-1, keepdim=True), rest], dim=-1)


def flat_float(x):
    """(B, H, T, D) -> (B * H, T, D) contiguous float32"""
    return x.float().flatten(0, 1).contiguous()


class Room:
    """Uninitialised memory like `x`, for one name always the same: allocating costs a sixth."""

    def __init__(self, x):
        self.x, self.memory = x, {}

    def __call__(self, name, *shape):
        size = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < size:
            self.memory[name] = self.x.new_empty(size)
        return self.memory[name][:size].view(shape)


class _Work:
    """What forward and backward share: inputs in float32, queries in reverse, and the weights."""

    def __init__(self, q, k, v, table, context, scale, dropout, seed):
        self.q, self.k, self.v = flat_float(q).flip(1) * scale, flat_float(k), flat_float(v)
        self.room = Room(self.q)
        self.bias = None if table is None else TileBias(table, context, self.room)
        self.tiles = Tiles(context, q.size(0), q.size(1), self.reach(table, context, q.size(1)))
        self.dropout, self.seed = dropout, seed

    def reach(self, table, context, heads):
        """For each head the distance from which on no weight reaches 2^-64, or None: not known.

        No weight exceeds exp(bias(d) - bias(0) + 2 max|q| max|k|), since a query sees itself.
        """
        if table is None or context.key_pads is not None or not context.never_falls:
            return None
        longest = [
            x.norm(dim=-1).amax(1).unflatten(0, (-1, heads)).amax(0) for x in (self.q, self.k)
        ]
        bound = NEGLIGIBLE + 2 * longest[0] * longest[1]  # (H,)
        negligible = table.detach() - table.detach()[:, :1] < -bound.unsqueeze(1)  # not for NaN
        distance = torch.arange(1, table.size(1) + 1, device=table.device)
        return distance.masked_fill(negligible, 0).amax(1).tolist()

    def weights(self, tile):
        """Scores of a tile and their softmax over its keys, both (batch * heads, *tile.shape)."""
        query, key = self.q[tile.group.flat, tile.rows], self.k[tile.group.flat, tile.keys].mT
        scores = self.room("scores", query.size(0), *tile.shape)
        if self.bias is None:
            torch.bmm(query, key, out=scores)
        else:
            self.bias.write(scores, tile)
            scores.baddbmm_(query, key)
        self.tiles.hide(scores, tile)
        return scores, torch.softmax(scores, -1, out=self.room("weights", *scores.shape))

    def joins(self, tiles):
        """Do `tiles` need their log-sum-exps? A single one does if a query may see no key."""
        return len(tiles) > 1 or self.tiles.context.key_pads is not None

    def drop(self, x, tile):
        """`x`, of the shape of the weights of `tile`, without the cells that dropout takes."""
        if not self.dropout:
            return x
        generator = torch.Generator(x.device).manual_seed(self.seed + tile.number)
        kept = torch.empty_like(x).bernoulli_(1 - self.dropout, generator=generator)
        return x * kept.div_(1 - self.dropout)
