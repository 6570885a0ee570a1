"""LlamaForCausalLM: RoPE, RMSNorm, SwiGLU, no biases, shared key/value heads."""

from nopos_plugin.exporters import base
from nopos_plugin.importers.base import FC1, FINAL_NORM, K, Q
from nopos_plugin.importers.llama import MODEL
from nopos_plugin.models import blocks

NAME = "LLaMA"
WANTED = {
    "decoder_norm": "rms",
    "decoder_no_bias": True,
    "decoder_glu": "swiglu",
    "decoder_parallel_residual": False,
}


def lacks(model):
    """What of `model` it has no place for."""
    found = base.lacks(model, WANTED, ("rope",))
    if model.encoding.name != "rope":
        return found
    if model.encoding.config.fraction != 1:
        found.append(f"--position-args fraction={model.encoding.config.fraction}")
    return found + base.lacks_scaling(model.encoding)


def export(model):
    """(config.json, {name: tensor})"""
    args = model.args
    theta, scaling, length = base.rotation(model.encoding, args.tokens_per_sample)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": args.decoder_embed_dim,
        "intermediate_size": args.decoder_ffn_embed_dim,
        "num_hidden_layers": args.decoder_layers,
        "num_attention_heads": args.decoder_attention_heads,
        "num_key_value_heads": args.decoder_kv_heads or args.decoder_attention_heads,
        "head_dim": blocks.head_dim(args),
        "hidden_act": "silu",
        "rms_norm_eps": args.decoder_norm_eps,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "max_position_embeddings": length,
        **model.described(),
    }
    tensors = {"model.embed_tokens.weight": model.embedding()}
    for number in range(args.decoder_layers):
        theirs = f"model.layers.{number}"
        for name, ours in MODEL.items():
            own = model.turned if ours in (Q, K) else model.of_layer
            tensors[f"{theirs}.{name}.weight"] = own(number, f"{ours}.weight")
        gate, up = model.of_layer(number, f"{FC1}.weight").chunk(2)
        tensors[f"{theirs}.mlp.gate_proj.weight"] = gate
        tensors[f"{theirs}.mlp.up_proj.weight"] = up
    tensors["model.norm.weight"] = model.tensor(f"{FINAL_NORM}.weight")
    if not model.tied:
        tensors["lm_head.weight"] = model.output()
    return config, tensors
