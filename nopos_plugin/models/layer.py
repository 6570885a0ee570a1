"""A stock layer around `SelfAttention`, with norms, gate and residuals as the options say."""

import contextlib

import torch
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from torch import nn
from torch.utils.checkpoint import checkpoint

from nopos_plugin.models import blocks
from nopos_plugin.models.self_attention import SelfAttention


class DecoderLayer(TransformerDecoderLayerBase):
    """One block of the decoder; `cfg.args` are the options of the model.

    Its activation checkpointing is non-reentrant: the parameters of an encoding serve several
    layers, and re-entrant recomputation would mark them ready more than once under
    DistributedDataParallel.
    """

    def __init__(self, cfg, no_encoder_attn=False):
        self.args = cfg.args
        super().__init__(cfg, no_encoder_attn)
        self.self_attn_layer_norm = blocks.norm(self.embed_dim, self.args)
        self.final_layer_norm = blocks.norm(self.embed_dim, self.args)
        if self.args.decoder_glu is not None:
            self.activation_fn = blocks.Gate(self.args.decoder_glu)
        self.parallel = self.args.decoder_parallel_residual
        self.checkpoints = cfg.checkpoint_activations or cfg.offload_activations
        self.offloads = cfg.offload_activations

    def build_self_attention(self, embed_dim, cfg, add_bias_kv=False, add_zero_attn=False):
        return SelfAttention(self.args, self.quant_noise, self.quant_noise_block_size)

    def build_fc1(self, input_dim, output_dim, q_noise, qn_block_size):
        """Gate and value, one after the other, where there is a gate."""
        wide = output_dim * (1 if self.args.decoder_glu is None else 2)
        return self.build_fc2(input_dim, wide, q_noise, qn_block_size)

    def build_fc2(self, input_dim, output_dim, q_noise, qn_block_size):
        linear = nn.Linear(input_dim, output_dim, bias=not self.args.decoder_no_bias)
        return quant_noise(linear, q_noise, qn_block_size)

    def forward(self, x, last=None, **kwargs):
        """x (T, B, C) -> (T, B, C), or (last, B, C) of the last tokens alone."""
        if last is not None and last < x.size(0):
            return self._last_of(x, last, **kwargs)
        if not (self.checkpoints and torch.is_grad_enabled()):
            return self._block(x, **kwargs)
        offload = torch.autograd.graph.save_on_cpu if self.offloads else contextlib.nullcontext
        with offload():
            return checkpoint(self._block, x, use_reentrant=False, **kwargs)

    def _block(self, x, **kwargs):
        if self.parallel:
            return self._parallel(x, **kwargs)
        return super().forward(x, **kwargs)

    def _parallel(self, x, incremental_state=None, self_attn_mask=None, **unused):
        """x + attention(norm(x)) + feed-forward(norm(x)), each with a norm of its own."""
        seen = self.self_attn_layer_norm(x)
        seen, _ = self.self_attn(
            query=seen,
            key=seen,
            value=seen,
            incremental_state=incremental_state,
            attn_mask=self_attn_mask,
        )
        fed = self.activation_fn(self.fc1(self.final_layer_norm(x)))
        fed = self.fc2(self.activation_dropout_module(fed))
        return x + self.dropout_module(seen) + self.dropout_module(fed), None, None

    def _last_of(self, x, last, self_attn_mask, **unused):
        """The last tokens of `x`, the others as if they had come before and were cached."""
        context, before = self_attn_mask, x[:-last]
        if self.normalize_before:
            before = self.self_attn_layer_norm(before)
        rotation = context.encoding.rotation(context.query_order[:, :-last], context.key_order)
        cache = self.self_attn.cached(before, context.encoding, rotation)
        context = context.last(last)
        return self._block(x[-last:], incremental_state=cache, self_attn_mask=context)
