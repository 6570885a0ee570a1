"""The attention weights of a model, layer by layer."""

import torch


def attention_maps(decoder, tokens):
    """Yields the weights of each layer in turn, (B, H, T, T) float32.

    decoder: a PositionDecoder, in evaluation mode. tokens: (B, T), padded or not.
    """
    seen = []

    def keep(attention, inputs, named):
        seen.append((attention, named["query"], named["attn_mask"]))

    hooks = [a.register_forward_pre_hook(keep, with_kwargs=True) for a in decoder.attentions()]
    try:
        with torch.no_grad():
            decoder(tokens, features_only=True)
    finally:
        for hook in hooks:
            hook.remove()
    for attention, x, context in seen:
        with torch.no_grad():
            weights = attention.weights(x, context)
        yield weights
