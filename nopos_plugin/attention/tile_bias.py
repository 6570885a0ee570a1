"""The bias of a tile of scores, from a table over distances, and the table's gradient."""

import torch
import torch.nn.functional as F

from nopos_plugin.attention.tiles import ROWS


class TileBias:
    """Tiles of the bias that `table` (H, N) float32 gives for the distances 0 .. N - 1.

    Where positions count up by one, the cell (r, c) of a tile is at the distance d + r + c: the
    tile is a view of the table with strides (1, 1), and its gradient sums along r + c. Elsewhere
    (segments, jumps) the table is looked up, once for neighbouring queries at the same
    position. `room(name, *shape)` lends memory.
    """

    def __init__(self, table, context, room):
        self.context, self.room = context, room
        # Before it zeros: distances below 0, of cells that the causal mask hides.
        self.table = F.pad(table, (ROWS, 0))
        self.gradient = torch.zeros_like(self.table)
        if not context.consecutive:
            jumps = context.key_order.diff(dim=1, prepend=context.key_order[:, :1]) != 1
            self.runs = jumps.cumsum(1).tolist()

    def table_gradient(self):
        """The gradient (H, N) of all that was accumulated."""
        return self.gradient[:, ROWS:]

    def write(self, scores, tile):
        """Make `scores` (batch * heads, *tile.shape) the bias of `tile`."""
        cells = scores.unflatten(0, (-1, tile.group.num_heads))
        table = self.table[tile.group.heads]
        first = self._first_entry(tile)
        if first is not None:
            strides, offset = (table.stride(0), 1, 1), table.storage_offset() + first
            cells.copy_(table.as_strided(cells.shape[1:], strides, offset))
        else:
            entries, repeats = self._entries(tile)
            torch.index_select(table[:, entries], 1, repeats, out=cells[0])

    def accumulate(self, gradient, tile):
        """Take in the gradient (batch * heads, *tile.shape) of the scores of `tile`."""
        cells = gradient.unflatten(0, (-1, tile.group.num_heads))
        cells = cells[0] if len(cells) == 1 else cells.sum(0)
        into = self.gradient[tile.group.heads]
        first = self._first_entry(tile)
        if first is not None:
            # Rows made longer by their number, then read as one shorter: diagonals are columns.
            rows, keys = tile.shape
            longer = self.room("skewed", cells.size(0), rows, keys + rows)
            longer[:, :, :keys], longer[:, :, keys:] = cells, 0.0
            skewed = longer.flatten(1)[:, :-rows].unflatten(1, (rows, keys + rows - 1))
            into[:, first : first + keys + rows - 1].add_(skewed.sum(1))
        else:
            entries, repeats = self._entries(tile)
            summed = cells.new_zeros(cells.size(0), *entries.shape)
            summed.index_add_(1, repeats, cells)
            into.index_add_(1, entries.flatten(), summed.flatten(1))

    def _first_entry(self, tile):
        """The table's entry for the cell (0, 0) if the tile is a view of the table, else None."""
        first, last = tile.keys.start, tile.keys.stop - 1
        if self.context.consecutive:
            return ROWS + tile.oldest - last
        run, order = tile.group.row_of(self.runs), tile.group.row_of(self.context.order_rows)
        if run[tile.oldest] != run[tile.newest] or run[first] != run[last]:
            return None
        entry = ROWS + order[tile.oldest] - order[last]
        return entry if 0 <= entry <= self.table.size(1) - sum(tile.shape) + 1 else None

    def _entries(self, tile):
        """Entries (distinct, keys) of the table, and which of them each row has, (rows,)."""
        order = tile.group.row_of(self.context.key_order)
        rows = order[tile.oldest : tile.newest + 1]
        distinct, repeats = rows.unique_consecutive(return_inverse=True)
        distance = distinct.unsqueeze(1) - order[tile.keys].flip(0)
        return ROWS + distance.clamp(min=0), repeats
