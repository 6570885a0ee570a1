"""Which tiles of the scores an attention visits, and which of their cells are hidden."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import torch

ROWS, KEYS = 128, 2048  # queries and keys of a tile, at most
CELLS = {"cpu": 2**20, "cuda": 2**25}  # scores of a tile, all its heads and batch rows, at most
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

    def row_of(self, batch):
        """Its row of `batch`, which has one for each batch row, or one for all."""
        return batch[min(self.batch.start, len(batch) - 1)]


@dataclass(frozen=True)
class Tile:
    """Scores of `queries`, in reverse, against `keys`; `newest` is the key of the last query."""

    group: Group
    queries: slice
    keys: slice
    newest: int
    number: int

    @property
    def shape(self):
        return self.queries.stop - self.queries.start, self.keys.stop - self.keys.start


class Tiles:
    """The tiles of the attention that `context` describes, for `batch` rows and `heads`.

    reach: for each head, the distance from which on keys count nothing; None: all count. It asks
    for orders that never fall.
    """

    def __init__(self, context, batch, heads, reach=None):
        self.context, self.batch, self.heads, self.reach = context, batch, heads, reach
        self.device = context.key_order.device
        self.alike = context.consecutive and context.key_pads is None and context.first_key is None
        if context.first_key is not None:
            self.first_key = context.first_key[:, ::ROWS].tolist()

    def groups(self):
        rows = min(self.context.num_queries, ROWS)
        cells = max(1, rows * min(self.context.num_keys, KEYS))
        most = max(1, CELLS.get(self.device.type, CELLS["cpu"]) // cells)
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
        """Of every block of queries: its slice, and its tiles. Keys that all hide have none."""
        context = self.context
        cached = context.num_keys - context.num_queries
        for start in range(0, context.num_queries, ROWS):
            stop = min(start + ROWS, context.num_queries)
            first = max(0, self._first_key(group, start, start + cached))
            count = stop + cached - first
            parts = -(-count // KEYS)
            bounds = [first + count * part // parts for part in range(parts + 1)]
            number = (group.flat.start * context.num_queries + start) * context.num_keys
            yield (
                slice(start, stop),
                [
                    Tile(
                        group, slice(start, stop), slice(*keys), stop + cached - 1, number + keys[0]
                    )
                    for keys in zip(bounds, bounds[1:])
                ],
            )

    def _first_key(self, group, query, key):
        """The first key that counts for `query`, whose own key is `key`, or for later ones."""
        bounds = [0]
        if self.context.window is not None:
            bounds.append(key - self.context.window + 1)
        if self.context.first_key is not None:
            bounds.append(group.row_of(self.first_key)[query // ROWS])
        if self.reach is not None:
            order = group.row_of(self.context.order_rows)
            bounds.append(bisect_left(order, order[key] - max(self.reach[group.heads]) + 1))
        return max(bounds)

    def hide(self, scores, tile):
        """Hide the cells of `scores` (batch * heads, *tile.shape) that no query may see."""
        context, group, (rows, count) = self.context, tile.group, tile.shape
        later = triangle(rows, self.device)
        oldest = tile.newest - rows + 1
        self._add(scores, tile, later, oldest)
        if context.window is not None:
            self._add(scores, tile, HIDDEN - later, oldest - context.window)
        if context.first_key is not None:
            first = group.row_of(context.first_key)[tile.queries].flip(0)
            columns = min(max(int(first[0]) - tile.keys.start, 0), count)
            key = torch.arange(tile.keys.start, tile.keys.start + columns, device=self.device)
            scores[:, :, :columns].masked_fill_(key < first[:, None], HIDDEN)
        if context.key_pads is not None:
            scores.masked_fill_(group.row_of(context.key_pads)[tile.keys], HIDDEN)

    @staticmethod
    def _add(scores, tile, mask, key):
        """Add `mask` (rows, rows), whose first column is that of `key`, where it meets the tile."""
        start, stop = max(key, tile.keys.start), min(key + mask.size(1), tile.keys.stop)
        if start < stop:
            columns = slice(start - tile.keys.start, stop - tile.keys.start)
            scores[:, :, columns] += mask[:, start - key : stop - key]


@lru_cache(maxsize=256)
def triangle(rows, device):
    """(rows, rows): HIDDEN for keys after the query, else 0; queries, in reverse, are the keys."""
    with torch.inference_mode(False):
        return torch.full((rows, rows), HIDDEN, device=device).triu(1).flip(0)
