"""GPTNeoXForCausalLM: RoPE on a share of the channels, LayerNorm, biases, either residual."""

import math

import torch

from nopos_plugin.exporters import base
from nopos_plugin.importers.base import FINAL_NORM, K, Q, V
from nopos_plugin.importers.gpt_neox import LAYER
from nopos_plugin.models import blocks

NAME = "GPT-NeoX"


def lacks(model):
    """What of `model` it has no place for."""
    found = base.lacks(model, base.GPT, ("rope",))
    if model.encoding.name != "rope":
        return found
    return found + base.lacks_scaling(model.encoding)


def export(model):
    """(config.json, {name: tensor})"""
    args = model.args
    theta, scaling, length = base.rotation(model.encoding, args.tokens_per_sample)
    config = {
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_size": args.decoder_embed_dim,
        "intermediate_size": args.decoder_ffn_embed_dim,
        "num_hidden_layers": args.decoder_layers,
        "num_attention_heads": args.decoder_attention_heads,
        "hidden_act": base.ACTIVATIONS[args.activation_fn],
        "layer_norm_eps": args.decoder_norm_eps,
        "use_parallel_residual": bool(args.decoder_parallel_residual),
        "rotary_pct": share(model.encoding.rotary_dim, blocks.head_dim(args)),
        "rotary_emb_base": theta,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "max_position_embeddings": length,
        **model.described(),
    }
    tensors = {"gpt_neox.embed_in.weight": model.embedding()}
    for number in range(args.decoder_layers):
        theirs = f"gpt_neox.layers.{number}"
        for kind in ("weight", "bias"):
            for name, ours in LAYER.items():
                tensors[f"{theirs}.{name}.{kind}"] = model.of_layer(number, f"{ours}.{kind}")
            # a head's queries, keys and values one after the other
            own = [model.turned(number, f"{name}.{kind}") for name in (Q, K)]
            own.append(model.of_layer(number, f"{V}.{kind}"))
            of_heads = [x.unflatten(0, (args.decoder_attention_heads, -1)) for x in own]
            fused = torch.cat(of_heads, dim=1).flatten(0, 1)
            tensors[f"{theirs}.attention.query_key_value.{kind}"] = fused
    for kind in ("weight", "bias"):
        tensors[f"gpt_neox.final_layer_norm.{kind}"] = model.tensor(f"{FINAL_NORM}.{kind}")
    if not model.tied:
        tensors["embed_out.weight"] = model.output()
    return config, tensors


def share(rotary_dim, head_dim):
    """The share of channels of which transformers makes `rotary_dim`: it rounds down."""
    fraction = rotary_dim / head_dim
    return fraction if int(head_dim * fraction) == rotary_dim else math.nextafter(fraction, 1)
