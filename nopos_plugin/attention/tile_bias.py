"""The bias of a tile of scores, from a table over distances; and the table's gradient."""

import torch
import torch.nn.functional as F

from nopos_plugin.attention.tiles import ROWS


class TileBias:
    """Tiles of the bias that `table` (H, N) float32 gives for the distances 0 .. N - 1.

    Rows of a tile are queries in reverse. Where positions count up by one, the cell (r, j) is then
    at the distance d - r - j, so that a tile is a view of the reversed table with strides (1, 1),
    and its gradient sums along r + j. Elsewhere (segments, jumps) the table is looked up, once for
    neighbouring queries at the same position.
    """

    def __init__(self, table, context, room):
        self.context, self.room = context, room
        self.num_distances = table.size(1)
        # Then zeros: distances down to 1 - ROWS are those of cells that the causal mask hides.
        self.table = F.pad(table.detach().flip(1), (0, ROWS))
        self.gradient = torch.zeros_like(self.table)
        if not context.consecutive:
            jumps = context.key_order.diff(dim=1, prepend=context.key_order[:, :1]) != 1
            self.runs = jumps.cumsum(1).tolist()

    def table_gradient(self):
        """The gradient (H, N) of all that was accumulated."""
        return self.gradient[:, : self.num_distances].flip(1)

    def write(self, scores, tile):
        """Make `scores` (batch * heads, rows, keys) the bias of `tile`."""
        cells = scores.unflatten(0, (-1, tile.group.num_heads))
        table = self.table[tile.group.heads]
        first = self._first_entry(tile)
        if first is not None:
            strides = (table.stride(0), 1, 1)
            offset = table.storage_offset() + first
            cells.copy_(table.as_strided(cells.shape[1:], strides, offset))
        else:
            entries, repeats = self._entries(tile)
            torch.index_select(table[:, entries], 1, repeats, out=cells[0])

    def accumulate(self, gradient, tile):
        """Take in the gradient (batch * heads, rows, keys) of the scores of `tile`."""
        cells = gradient.unflatten(0, (-1, tile.group.num_heads))
        cells = cells[0] if len(cells) == 1 else cells.sum(0)
        into = self.gradient[tile.group.heads]
        first = self._first_entry(tile)
        if first is not None:
            # Rows made longer by `rows` and read as one shorter than that: diagonals are columns.
            rows, keys = tile.shape
            longer = self.room("skewed", cells.size(0), rows, keys + rows)
            longer[:, :, :keys] = cells
            longer[:, :, keys:] = 0.0
            skewed = longer.flatten(1)[:, :-rows]
            sums = skewed.unflatten(1, (rows, keys + rows - 1)).sum(1)
            into[:, first : first + keys + rows - 1] += sums
        else:
            entries, repeats = self._entries(tile)
            shape = (cells.size(0), *entries.shape)
            summed = cells.new_zeros(shape).index_add_(1, repeats, cells)
            into.index_add_(1, entries.flatten(), summed.flatten(1))

    def _first_entry(self, tile):
        """The table's entry for the cell (0, 0) if the tile is a view of the table, else None."""
        oldest, first = tile.newest - tile.shape[0] + 1, tile.keys.start
        if self.context.consecutive:
            return self.num_distances - 1 - (tile.newest - first)
        run, order = tile.group.row_of(self.runs), tile.group.row_of(self.context.order_rows)
        if run[oldest] != run[tile.newest] or run[first] != run[tile.keys.stop - 1]:
            return None
        entry = self.num_distances - 1 - (order[tile.newest] - order[first])
        cells = sum(tile.shape) - 1
        return entry if entry >= 0 and entry + cells <= self.table.size(1) else None

    def _entries(self, tile):
        """Entries (distinct, keys) of the table, and which of them each row has, (rows,)."""
        order = tile.group.row_of(self.context.key_order)
        queries = order[tile.newest - tile.shape[0] + 1 : tile.newest + 1].flip(0)
        queries, repeats = queries.unique_consecutive(return_inverse=True)
        distance = (queries[:, None] - order[tile.keys]).clamp(min=0)
        return self.num_distances - 1 - distance, repeats
