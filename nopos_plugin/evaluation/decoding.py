"""Greedy decoding: what a model says next, in batches, with the cache."""

import torch


def greedy(model, prompts, count, eos, pad):
    """Up to `count` tokens after each of `prompts`, lists of indices that begin with the opener.

    model: a language model of fairseq's, in eval mode. A row ends before its first `eos`. The
    prompts are padded on the left, run once, and each further step is one token a row; models
    without this plugin's decoder are run whole at each step. Where an encoding's positions end, a
    row ends, too, whatever is in the batch with it. Returns lists of indices.
    """
    decoder = model.decoder
    device = next(model.parameters()).device
    longest = max(map(len, prompts))
    reach = getattr(getattr(decoder, "encoding", None), "max_positions", None)
    if reach is not None and longest + count > reach + 1:  # what comes last is not looked up
        if len({len(row) for row in prompts}) > 1:
            return [one for row in prompts for one in greedy(model, [row], count, eos, pad)]
        count = reach + 1 - longest
    tokens = torch.tensor([[pad] * (longest - len(row)) + row for row in prompts], device=device)
    cache: dict | None = {} if getattr(decoder, "knows_last", False) else None
    with torch.inference_mode():
        for _ in range(count):
            features, _ = decoder(tokens, features_only=True, incremental_state=cache)
            output = decoder.output_layer(features[:, -1:])
            scores = model.get_normalized_probs((output, None), log_probs=True)[:, -1]
            scores[:, pad] = -torch.inf
            tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
            if (tokens[:, longest:] == eos).any(1).all():
                break
    return [before(row, eos) for row in tokens[:, longest:].tolist()]


def before(row, eos):
    """`row` up to its first `eos`."""
    return row[: row.index(eos)] if eos in row else row
