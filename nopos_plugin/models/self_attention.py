"""fairseq's self-attention, computed by `attend`, with the heads that the blocks ask for."""

import torch
from fairseq.modules import MultiheadAttention
from fairseq.modules.quant_noise import quant_noise
from torch import nn

from nopos_plugin.attention import attend
from nopos_plugin.attention.reference import weights
from nopos_plugin.models import blocks


class SelfAttention(MultiheadAttention):
    """Causal self-attention through `attend`. Keys are cached rotated, under stock names.

    The query heads may be wider than a share of the embedding, and share key/value heads.
    """

    layer: int  # its number, set by the decoder; encodings may have parameters per layer

    def __init__(self, args, noise, noise_block):
        heads, dim = args.decoder_attention_heads, blocks.head_dim(args)
        super().__init__(
            heads * dim,
            heads,
            dropout=args.attention_dropout,
            bias=not args.decoder_no_bias,
            self_attention=True,
            q_noise=noise,
            qn_block_size=noise_block,
        )
        self.kv_heads = args.decoder_kv_heads or heads
        if args.decoder_unscaled_attention:
            self.scaling = 1.0
        outside, inside, shared = args.decoder_embed_dim, heads * dim, self.kv_heads * dim
        if (outside, shared) != (inside, inside):
            sizes = {
                "q_proj": (outside, inside),
                "k_proj": (outside, shared),
                "v_proj": (outside, shared),
                "out_proj": (inside, outside),
            }
            for name, size in sizes.items():
                linear = nn.Linear(*size, bias=not args.decoder_no_bias)
                setattr(self, name, quant_noise(linear, noise, noise_block))
            self.reset_parameters()

    def forward(self, query, key, value, incremental_state=None, attn_mask=None, **unused):
        """query (T, B, C), new tokens only; `attn_mask` is an AttentionContext -> (T, B, C)."""
        context = attn_mask
        q = heads_of(self.q_proj(query), self.num_heads)
        k, v = (heads_of(project(query), self.kv_heads) for project in (self.k_proj, self.v_proj))
        q, k = context.encoding.rotate(q, k, context.rotation)
        if incremental_state is not None:
            cache = self._get_input_buffer(incremental_state)
            if "prev_key" in cache:
                k = torch.cat([cache["prev_key"], k], dim=2)
                v = torch.cat([cache["prev_value"], v], dim=2)
            self._set_input_buffer(incremental_state, {"prev_key": k, "prev_value": v})
        drops = self.training or self.dropout_module.apply_during_inference
        dropout = self.dropout_module.p if drops else 0.0
        out = attend(q, k, v, context, self.layer, dropout, self.scaling)
        return self.out_proj(out.permute(2, 0, 1, 3).flatten(2)), None  # (T, B, C)

    def weights(self, x, context):
        """How much the tokens `x` (T, B, C) attend to each other, (B, H, T, T) float32."""
        q = heads_of(self.q_proj(x), self.num_heads)
        k = heads_of(self.k_proj(x), self.kv_heads)
        q, k = context.encoding.rotate(q, k, context.rotation)
        k = k.repeat_interleave(self.num_heads // self.kv_heads, dim=1)
        return weights(q, k, context, self.layer, context.encoding.logit_scale * self.scaling)

    def cached(self, x, encoding, rotation):
        """An incremental state that holds the keys and values of the tokens `x` (T, B, C)."""
        k, v = (heads_of(project(x), self.kv_heads) for project in (self.k_proj, self.v_proj))
        _, k = encoding.rotate(k, k, rotation)
        state = {}
        self._set_input_buffer(state, {"prev_key": k, "prev_value": v})
        return state

    def num_cached(self, incremental_state):
        """Tokens in the cache."""
        cache = self._get_input_buffer(incremental_state)
        return cache["prev_key"].size(2) if "prev_key" in cache else 0


def heads_of(x, count):
    """(T, B, count * D) -> (B, count, T, D)"""
    return x.unflatten(2, (count, -1)).permute(1, 2, 0, 3)
