"""What FlexAttention shares between the layers of a forward: block mask and distances."""

import torch
from torch.utils.weak import WeakIdKeyDictionary

BLOCK = 128  # queries, and keys, of a block of the mask

_shared = WeakIdKeyDictionary()  # context -> Shared, for as long as the context lives


def shared_by_layers(context, batch):
    """The `Shared` of `context`, made once."""
    shared = _shared.get(context)
    if shared is None or shared.batch != batch:
        shared = _shared[context] = Shared(context, batch)
    return shared


class Shared:
    """Block mask and distances for `batch` rows; lengths are filled up to whole blocks.

    Queries that fill up see what the last one sees. No number is captured, only tensors: numbers
    would compile anew where they differ.
    """

    def __init__(self, context, batch):
        num_queries, num_keys = context.num_queries, context.num_keys
        queries, keys = whole_blocks(num_queries), whole_blocks(num_keys)
        own = torch.arange(num_keys - num_queries, num_keys, device=context.key_order.device)
        last = filled(own.unsqueeze(0), queries)  # (1, T), the last key that a query sees
        first = torch.zeros_like(last)  # (1, T) or (B, T), the first one
        if context.window is not None:
            first = (last - context.window + 1).clamp(min=0)
        if context.first_key is not None:
            first = first.maximum(filled(context.first_key, queries))
        pads = context.key_pads
        if pads is not None:
            pads = filled(pads, keys).expand(batch, -1).contiguous()
        self.batch = batch
        self.block_mask = block_mask(first, last[0], pads, batch, keys)
        if context.consecutive and num_queries == num_keys:
            self.distance = distance_of_rows
        else:
            query_order, key_order = (
                filled(order, length).expand(batch, -1).contiguous()
                for order, length in ((context.query_order, queries), (context.key_order, keys))
            )
            self.distance = distance_of_orders(query_order, key_order)


def whole_blocks(length):
    """`length`, up to a multiple of BLOCK."""
    return -(-length // BLOCK) * BLOCK


def filled(x, length):
    """`x` (B, T), its last column repeated up to `length`."""
    return x[:, torch.arange(length, device=x.device).clamp(max=x.size(1) - 1)]


def distance_of_rows(b, query, key):
    """Distance where positions count up with rows.

    Of hidden keys, later ones, too: were they all at 0, a table's gradient would wait for that one
    entry, to which they all add nothing.
    """
    return (query - key).abs()


def distance_of_orders(query_order, key_order):
    """The same for the positions query_order (B, T) and key_order (B, S); at least 0."""

    def distance(b, query, key):
        return (query_order[b, query] - key_order[b, key]).clamp(min=0)

    return distance


def block_mask(first, last, pads, batch, num_keys):
    """BlockMask of queries that see the keys from `first` to `last`, but no pads.

    first: (B, T) or (1, T), last: (T,), neither ever falling; pads: (B, S) bool or None; num_keys:
    S. Made by arithmetic on the first and last rows of the blocks of queries: the key blocks that
    one visits are neighbours, and those that all its queries see wholly are neighbours among them.
    """
    from torch.nn.attention.flex_attention import BlockMask

    start = first[:, ::BLOCK, None] // BLOCK  # (B, blocks of queries, 1)
    stop = last[BLOCK - 1 :: BLOCK, None] // BLOCK + 1
    full_start = -(-first[:, BLOCK - 1 :: BLOCK, None] // BLOCK)
    num_full = ((last[::BLOCK, None] + 1) // BLOCK - full_start).clamp(min=0)
    if pads is not None:
        num_full = torch.zeros_like(num_full)
    steps = torch.arange(num_keys // BLOCK, device=last.device)
    partial = start + steps  # (B, blocks of queries, blocks of keys)
    partial = partial + num_full * (partial >= full_start)  # they step over the full ones
    return BlockMask.from_kv_blocks(
        *listed(stop - start - num_full, partial),
        *listed(num_full, full_start + steps),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask_mod(first.int().expand(batch, -1).contiguous(), last.int(), pads),
        seq_lengths=(len(last), num_keys),
    )


def listed(count, blocks):
    """As BlockMask has it: how many blocks, and which; what follows those is ignored."""
    within = blocks.clamp(max=blocks.size(2) - 1)
    return count[:, None, :, 0].int(), within.unsqueeze(1).int()


def mask_mod(first, last, pads):
    """The function that tells whether a query sees a key."""

    def within(b, h, query, key):
        return (first[b, query] <= key) & (key <= last[query])

    def within_and_no_pad(b, h, query, key):
        return within(b, h, query, key) & ~pads[b, key]

    return within if pads is None else within_and_no_pad
