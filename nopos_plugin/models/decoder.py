"""fairseq's transformer decoder with the position encoding taken out and put where DESIGN says.

Everything else (projections, their names, caches, layers, output layers) is stock fairseq's, but
for what blocks.py lists.
"""

import logging

import torch
from fairseq.models.transformer import TransformerConfig, TransformerDecoderBase
from fairseq.modules import FairseqDropout

from nopos_plugin.attention import AttentionContext
from nopos_plugin.models import blocks
from nopos_plugin.models.layer import DecoderLayer
from nopos_plugin.positions.constants import constant

logger = logging.getLogger(__name__)


class PositionDecoder(TransformerDecoderBase):
    """A decoder-only transformer that asks one `PositionEncoding`, `self.encoding`."""

    knows_last = True  # extract_features takes `last`

    def __init__(self, cfg, dictionary, embed_tokens, encoding):
        sizes = TransformerConfig.from_namespace(cfg)
        sizes.no_token_positional_embeddings = True  # the encoding adds them
        sizes.args = cfg
        super().__init__(sizes, dictionary, embed_tokens, no_encoder_attn=True)
        for norm in ("layer_norm", "layernorm_embedding"):
            if getattr(self, norm) is not None:
                setattr(self, norm, blocks.norm(self.embed_dim, cfg))
        self.blocks = blocks.Recorded(cfg)
        self.logit_scale = cfg.final_logit_scale
        self.final_dropout = FairseqDropout(cfg.decoder_final_dropout)
        self.absent = blocks.absent(cfg, dictionary)
        self.encoding = encoding
        self.kernel = cfg.attention_kernel
        self.window = cfg.attention_window
        self.document_start = dictionary.eos() if cfg.document_mask else None
        for number, attention in enumerate(self.attentions()):
            attention.layer = number
        if cfg.decoder_init == "t5":
            blocks.start_as_t5(self)

    def build_decoder_layer(self, cfg, no_encoder_attn=False):
        return DecoderLayer(cfg, no_encoder_attn)

    def forward(self, prev_output_tokens, features_only=False, src_lengths=None, **kwargs):
        """As `extract_features`, then the output layer, (B, T, vocabulary)."""
        x, extra = self.extract_features(prev_output_tokens, **kwargs)
        return (x if features_only else self.output_layer(x)), extra

    def extract_features(
        self,
        prev_output_tokens,
        encoder_out=None,
        incremental_state=None,
        full_context_alignment=False,
        positions=None,
        last=None,
        **unused,
    ):
        """Features of the tokens that the cache does not hold yet.

        prev_output_tokens: (B, S), the whole prefix, with incremental_state as well.
        positions: (B, S) int64, where a task says that the tokens sit.
        last: the features of so many tokens only, the last, are wanted; not with a cache.
        Returns (B, T, C), T = `last`, or S less the cached tokens, and
        {"inner_states": [(T, B, C)] by layer}.
        Raises ValueError beyond the reach of the encoding.
        """
        if full_context_alignment:
            raise ValueError("full_context_alignment: a position-encoded language model is causal")
        tokens = prev_output_tokens
        placed = self.encoding.positions(tokens, positions)
        cached = 0
        if self.encoding.rotates_by_length:
            incremental_state = None  # one more token changes what all others have become
        if incremental_state is not None:
            cached = next(self.attentions()).num_cached(incremental_state)
        new = placed.after(cached)
        context = AttentionContext(
            encoding=self.encoding,
            query_order=new.order,
            key_order=placed.order,
            consecutive=placed.consecutive,
            key_pads=placed.pads,
            window=self.window,
            first_key=self._document_starts(tokens, cached),
            rotation=self.encoding.rotation(new.order, placed.order),
            kernel=self.kernel,
        )

        x = self.embed_scale * self.embed_tokens(tokens[:, cached:].contiguous())
        if self.quant_noise is not None:
            x = self.quant_noise(x)
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        x = self.encoding.embed(x, new)
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        x = self.dropout_module(x).transpose(0, 1)  # (T, B, C)

        inner_states = [x]
        for number, layer in enumerate(self.layers, start=1):
            wanted = last if number == len(self.layers) else None
            x, _, _ = layer(
                x, incremental_state=incremental_state, self_attn_mask=context, last=wanted
            )
            inner_states.append(x)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        x = self.final_dropout(x).transpose(0, 1)  # (B, T, C)
        if self.project_out_dim is not None:
            x = self.project_out_dim(x)
        return x, {"attn": [None], "inner_states": inner_states}

    def output_layer(self, features, **kwargs):
        """Logits (B, T, vocabulary) of `features` (B, T, C)."""
        if self.logit_scale != 1:
            features = features * self.logit_scale
        logits = super().output_layer(features, **kwargs)
        if not self.absent:
            return logits
        columns = constant(self.absent, torch.long, logits.device)
        return logits.index_fill(-1, columns, -torch.inf)

    def _document_starts(self, tokens, cached):
        """(B, T) int64, where the documents of the new tokens start; None without a document mask.

        The input is the targets shifted by one: `</s>`, the end of one document, opens the next.
        """
        if self.document_start is None:
            return None
        index = torch.arange(tokens.size(1), device=tokens.device)
        return torch.where(tokens == self.document_start, index, 0).cummax(1).values[:, cached:]

    def max_positions(self):
        """None: no length is filtered away. An encoding that ends raises ValueError instead."""
        return None

    def upgrade_state_dict_named(self, state_dict, name):
        """Take a stock checkpoint if it has this model's encoding; ValueError if it cannot have."""
        state_dict = super().upgrade_state_dict_named(state_dict, name)
        marker = f"{name}.encoding._extra_state"
        state_dict.setdefault(f"{name}.blocks._extra_state", self.blocks.before_options())
        if marker in state_dict:
            return state_dict
        found = ("sinusoidal", "nopos")
        if state_dict.pop(f"{name}.embed_positions._float_tensor", None) is not None:
            found = ("sinusoidal",)
        table = state_dict.pop(f"{name}.embed_positions.weight", None)
        if table is not None:
            found = ("learned",)
            state_dict[f"{name}.encoding.weight"] = table
        if self.encoding.name not in found:
            raise ValueError(
                f"a checkpoint of stock fairseq with {' or '.join(found)} positions does not fit "
                f"--position-encoding {self.encoding.name}"
            )
        if len(found) > 1:
            logger.warning(
                f"a checkpoint of stock fairseq does not say whether it has {' or '.join(found)} "
                f"positions: taken as {self.encoding.name}"
            )
        state_dict[marker] = self.encoding.get_extra_state()
        return state_dict

    def attentions(self):
        """The self-attention of every layer. (Iterating self.layers would draw layerdrop.)"""
        layers = self.layers.children()
        return (layer.self_attn for layer in layers if hasattr(layer, "self_attn"))
