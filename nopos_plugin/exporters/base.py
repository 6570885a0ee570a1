"""A model as an exporter gets it, and what all classes of Hugging Face lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nopos_plugin.importers.base import EMBEDDING, OUTPUT
from nopos_plugin.models import blocks

# Options of blocks that no class has otherwise.
COMMON = {
    "decoder_normalize_before": True,
    "no_decoder_final_norm": False,
    "layernorm_embedding": False,
    "adaptive_input": False,
    "adaptive_softmax_cutoff": None,
    "character_embeddings": False,
    "decoder_unscaled_attention": False,
    "final_logit_scale": 1.0,
    "attention_window": None,
    "document_mask": False,
    "quant_noise_pq": 0.0,
    "base_layers": 0,
}

# As transformers calls them.
ACTIVATIONS = {"gelu": "gelu", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "relu": "relu"}
# What GPT-2 and GPT-NeoX have in common.
GPT = {
    "decoder_norm": "layer",
    "decoder_no_bias": False,
    "decoder_glu": None,
    "decoder_kv_heads": None,
    "decoder_head_dim": None,
    "activation_fn": tuple(ACTIVATIONS),
}


@dataclass(frozen=True)
class Model:
    """A model of this plugin.

    args: its options. encoding: its PositionEncoding. state: its tensors by name. rows: the index
    of the dictionary of each id that it is to have. special: {bos, eos, pad: id}.
    """

    args: Any
    encoding: Any
    state: Mapping[str, Tensor]
    rows: list[int]
    special: Mapping[str, int]
    used: set[str] = field(default_factory=set)

    def tensor(self, name):
        """One of `state`, which is used now."""
        self.used.add(name)
        return self.state[name]

    def unused(self):
        """Names of tensors that no one has asked for; an output that is tied is the embedding."""
        known = self.used | {"decoder.version"} | ({OUTPUT} if self.tied else set())
        return [x for x in self.state if x not in known and not x.endswith("_extra_state")]

    def embedding(self):
        """(ids, C), what it multiplies embeddings by in them."""
        rows = self.tensor(EMBEDDING)[self.rows]
        if self.args.no_scale_embedding:
            return rows
        return rows * self.args.decoder_embed_dim**0.5

    def output(self):
        """(ids, C)"""
        return self.tensor(EMBEDDING if self.tied else OUTPUT)[self.rows]

    @property
    def tied(self):
        return bool(self.args.share_decoder_input_output_embed)

    def of_layer(self, number, name):
        return self.tensor(f"decoder.layers.{number}.{name}")

    def turned(self, number, name):
        """Rows of queries or keys for pairs (i, i + n/2) of the n channels that rotate."""
        rows = self.of_layer(number, name)
        if self.encoding.config.layout == "half":
            return rows
        order = torch.arange(blocks.head_dim(self.args))
        dim = self.encoding.rotary_dim
        order[:dim] = torch.cat([order[:dim:2], order[1:dim:2]])
        return rows.unflatten(0, (-1, len(order)))[:, order].flatten(0, 1)

    def described(self):
        """What every config.json says."""
        names = {name: f"{name}_token_id" for name in ("bos", "eos", "pad")}
        return {
            "vocab_size": len(self.rows),
            "tie_word_embeddings": self.tied,
            **{key: self.special.get(name) for name, key in names.items()},
        }


def lacks(model, wanted, encodings):
    """What of `model` a class has no place for, words as they are typed.

    wanted: {option: value or values} of COMMON and the class; encodings: names of them.
    """
    args, found = model.args, []
    if model.encoding.name not in encodings:
        found.append(f"--position-encoding {model.encoding.name}")
    for name, value in {**COMMON, **wanted}.items():
        own = getattr(args, name)
        known = value if isinstance(value, tuple) else (value,)
        if own not in known and not (own is None and False in known):
            found.append(said(name, own))
    dim = args.decoder_embed_dim
    for name in ("decoder_input_dim", "decoder_output_dim"):
        if getattr(args, name) != dim:
            found.append(said(name, getattr(args, name)))
    if model.tied and not args.no_scale_embedding:
        found.append("embeddings that are scaled, and tied to an output that is not")
    return found


def said(name, value):
    """An option as it would be typed, or that it was not."""
    flag = blocks.flag(name)
    if value is False or value is None:
        return f"no {flag}"
    return flag if value is True else f"{flag} {value}"


# Laws as transformers calls them; ntk is another theta.
ROPE_TYPES = {
    "linear": "linear",
    "dynamic_ntk": "dynamic",
    "yarn": "yarn",
    "llama3": "llama3",
    "longrope": "longrope",
}


def lacks_scaling(encoding):
    """What of the scaling of RoPE transformers has no name for."""
    law = encoding.config.scaling
    return [] if law in ("none", "ntk", *ROPE_TYPES) else [f"--position-args scaling={law}"]


def rotation(encoding, length):
    """(theta, rope_scaling or None, max_position_embeddings) for transformers."""
    config, dim = encoding.config, encoding.rotary_dim
    if config.scaling == "none":
        return config.theta, None, length
    if config.scaling == "ntk":
        return config.theta * config.factor ** (dim / (dim - 2)), None, length
    scaling = {"rope_type": ROPE_TYPES[config.scaling], "factor": config.factor}
    if config.scaling == "linear":
        return config.theta, scaling, length
    if config.scaling == "dynamic_ntk":
        return config.theta, scaling, config.original_length
    scaling["original_max_position_embeddings"] = config.original_length
    fast, slow = ("high_freq_factor", "low_freq_factor")
    if config.scaling == "yarn":
        fast, slow = ("beta_fast", "beta_slow")
    if config.scaling in ("yarn", "llama3"):
        scaling[fast] = config.fast or {"yarn": 32.0, "llama3": 4.0}[config.scaling]
        scaling[slow] = config.slow or 1.0
    if config.scaling == "longrope":
        scaling["short_factor"] = list(config.short_factors)
        scaling["long_factor"] = list(config.long_factors)
    return config.theta, scaling, round(config.original_length * config.factor)
