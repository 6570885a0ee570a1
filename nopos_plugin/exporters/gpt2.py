"""GPT2LMHeadModel: learned positions, LayerNorm, biases."""

import torch

from nopos_plugin.exporters import base
from nopos_plugin.importers.base import (
    ATTENTION_NORM,
    FC1,
    FC2,
    FEED_FORWARD_NORM,
    FINAL_NORM,
    OUT,
    K,
    Q,
    V,
)

NAME = "GPT-2"
WANTED = {**base.GPT, "decoder_parallel_residual": False}
LAYER = {
    "ln_1": ATTENTION_NORM,
    "attn.c_proj": OUT,
    "ln_2": FEED_FORWARD_NORM,
    "mlp.c_fc": FC1,
    "mlp.c_proj": FC2,
}


def lacks(model):
    """What of `model` it has no place for."""
    return base.lacks(model, WANTED, ("learned",))


def export(model):
    """(config.json, {name: tensor})"""
    args, length = model.args, model.encoding.max_positions
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": args.decoder_embed_dim,
        "n_inner": args.decoder_ffn_embed_dim,
        "n_layer": args.decoder_layers,
        "n_head": args.decoder_attention_heads,
        "n_positions": length,
        "activation_function": base.ACTIVATIONS[args.activation_fn],
        "layer_norm_epsilon": args.decoder_norm_eps,
        **model.described(),
    }
    tensors = {
        "transformer.wte.weight": model.embedding(),
        "transformer.wpe.weight": model.tensor("decoder.encoding.weight")[-length:],
    }
    for number in range(args.decoder_layers):
        theirs = f"transformer.h.{number}"
        for kind in ("weight", "bias"):
            for name, ours in LAYER.items():
                tensors[f"{theirs}.{name}.{kind}"] = turned(
                    model.of_layer(number, f"{ours}.{kind}")
                )
            fused = torch.cat([model.of_layer(number, f"{name}.{kind}") for name in (Q, K, V)])
            tensors[f"{theirs}.attn.c_attn.{kind}"] = turned(fused)
    for kind in ("weight", "bias"):
        tensors[f"transformer.ln_f.{kind}"] = model.tensor(f"{FINAL_NORM}.{kind}")
    if not model.tied:
        tensors["lm_head.weight"] = model.output()
    return config, tensors


def turned(tensor):
    """Its matrices are (inputs, outputs)."""
    return tensor.mT if tensor.dim() > 1 else tensor
