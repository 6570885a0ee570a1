"""Which tiles of the scores an attention visits, and which of their cells are hidden.

The columns of a tile are its keys in reverse. Where positions count up by one, row r and column c
are then at the distance d + r + c.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch

ROWS, KEYS = 256, 2048  # queries and keys of a tile, at most
CELLS = {"cpu": 2**21, "cuda": 2**25}  # scores of a tile, of all its heads, at most
HIDDEN = -1e30  # the score of a hidden cell: finite, since a tile may hide all keys of a query


@dataclass(frozen=True)
class Group:
    """What is computed together: whole batch rows, or some heads of one."""

    batch: slice
    heads: slice
    flat: slice  # of batch * heads

    @property
    def num_heads(self):
        return self.heads.stop - self.heads.start

    def part(self, x, rows):
        """Its part of `x` (B, H, T, D), (batch, heads, rows, D)."""
        return x[self.batch, self.heads, rows]

    def row_of(self, batch):
        """Its row of `batch`, which has one for each batch row, or one for all."""
        return batch[min(self.batch.start, len(batch) - 1)]


@dataclass(frozen=True)
class Tile:
    """Scores of `rows` of queries against `keys` in reverse; `oldest`, `newest`: their own keys."""

    group: Group
    rows: slice
    keys: slice
    columns: slice  # the same, of the keys in reverse
    oldest: int
    newest: int
    number: int  # no other tile of the attention has it

    @property
    def shape(self):
        return self.rows.stop - self.rows.start, self.keys.stop - self.keys.start


class Tiles:
    """The tiles of the attention that `context` describes, for `batch` rows and `heads`.

    reach: for each head, the distance from which on keys count nothing, or None: all count. With
    it, orders must not fall.
    """

    def __init__(self, context, batch, heads, reach=None):
        self.context, self.batch, self.heads, self.reach = context, batch, heads, reach
        self.device = context.key_order.device
        self.alike = context.consecutive and context.key_pads is None and context.first_key is None
        if context.first_key is not None:
            self.first_keys = context.first_key.tolist()

    def groups(self):
        """Every Group, as large as CELLS allows: few calls, which still fit into a cache.

        Half as large where heads reach less far: then each group has a reach of its own.
        """
        cells = min(self.context.num_queries, ROWS) * min(self.context.num_keys, KEYS)
        if self.reach is not None and min(self.reach) < self.context.num_distances:
            cells *= 2
        most = max(1, CELLS.get(self.device.type, CELLS["cpu"]) // max(1, cells))
        rows = max(1, min(self.batch, most // self.heads)) if self.alike else 1
        parts = 1 if rows > 1 else -(-self.heads // min(most, self.heads))
        for part in range(parts):
            heads = slice(self.heads * part // parts, self.heads * (part + 1) // parts)
            for row in range(0, self.batch, rows):
                batch = slice(row, min(row + rows, self.batch))
                flat = slice(
                    row * self.heads + heads.start, (batch.stop - 1) * self.heads + heads.stop
                )
                yield Group(batch, heads, flat)

    def blocks(self, group):
        """Of every block of rows its slice and its tiles, from the first key that counts on."""
        num_queries, num_keys = self.context.num_queries, self.context.num_keys
        most = -(-num_keys // KEYS)  # tiles of a block
        for start in range(0, num_queries, ROWS):
            stop = min(start + ROWS, num_queries)
            oldest, newest = (num_keys - num_queries + row for row in (start, stop - 1))
            first = self._first_key(group, start, oldest)
            count = newest + 1 - first
            parts = -(-count // KEYS)
            bounds = [first + count * part // parts for part in range(parts + 1)]
            number = (group.flat.start * -(-num_queries // ROWS) + start // ROWS) * most
            rows, tiles = slice(start, stop), []
            for part, (begin, end) in enumerate(pairwise(bounds)):
                keys, columns = slice(begin, end), slice(num_keys - end, num_keys - begin)
                tiles.append(Tile(group, rows, keys, columns, oldest, newest, number + part))
            yield rows, tiles

    def _first_key(self, group, row, key):
        """The first key that counts for `row`, whose own is `key`, or for later queries."""
        first = 0
        if self.context.window is not None:
            first = max(first, key - self.context.window + 1)
        if self.context.first_key is not None:
            first = max(first, group.row_of(self.first_keys)[row])
        if self.reach is not None:
            order = group.row_of(self.context.order_rows)
            nearest = order[key] - max(self.reach[group.heads]) + 1
            first = max(first, bisect_left(order, nearest))
        return first

    def hide(self, scores, tile):
        """Hide the cells of `scores` (batch * heads, *tile.shape) that no query may see."""
        context, group, (rows, count) = self.context, tile.group, tile.shape
        later = triangle(rows, self.device)
        add(scores, tile, later, tile.oldest)
        if context.window is not None:
            add(scores, tile, HIDDEN - later, tile.oldest - context.window)
        if context.first_key is not None:
            latest = group.row_of(self.first_keys)[tile.rows.stop - 1]
            hiding = min(max(latest - tile.keys.start, 0), count)  # keys that some row may not see
            key = torch.arange(hiding, device=self.device).flip(0) + tile.keys.start
            hidden = key < group.row_of(context.first_key)[tile.rows].unsqueeze(1)
            scores[:, :, count - hiding :].masked_fill_(hidden, HIDDEN)
        if context.key_pads is not None:
            scores.masked_fill_(group.row_of(context.key_pads)[tile.keys].flip(0), HIDDEN)


def add(scores, tile, mask, key):
    """Add `mask`, whose last column is that of `key`, to `scores` where it meets the tile."""
    start, stop = max(key, tile.keys.start), min(key + mask.size(1), tile.keys.stop)
    if start < stop:
        columns = slice(tile.keys.stop - stop, tile.keys.stop - start)
        end = key + mask.size(1)
        scores[:, :, columns].add_(mask[:, end - stop : end - start])


@lru_cache(maxsize=256)
def triangle(rows, device):
    """(rows, rows): HIDDEN for keys after the query, else 0. The keys are the queries' own."""
    with torch.inference_mode(False):
        return torch.full((rows, rows), HIDDEN, device=device).triu(1).flip(1)
