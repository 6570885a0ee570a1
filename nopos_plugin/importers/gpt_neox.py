"""Hugging Face folders of GPT-NeoX, and what gpt-neox's own layers have in common with them."""

from nopos_plugin.importers import base, rotation, weights
from nopos_plugin.importers.base import Config, Imported

LAYER = {
    "input_layernorm": base.ATTENTION_NORM,
    "post_attention_layernorm": base.FEED_FORWARD_NORM,
    "attention.dense": base.OUT,
    "mlp.dense_h_to_4h": base.FC1,
    "mlp.dense_4h_to_h": base.FC2,
}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_accurate", "gelu_fast": "gelu_accurate"}
ACTIVATIONS["relu"] = "relu"


def recognises(config):
    return config.get("model_type") == "gpt_neox"


def convert(source, config):
    """The Imported of the folder `source.path`, whose config.json is `config`."""
    config = Config(config, source.path / "config.json")
    found = weights.of_folder(source.path, source.trusted)
    config.only(hidden_act=tuple(ACTIVATIONS), attention_bias=True)
    dim, heads = config.number("hidden_size"), config.number("num_attention_heads")
    rows, num_layers = config.number("vocab_size"), config.number("num_hidden_layers")
    inner = config.number("intermediate_size")
    tensors = {base.EMBEDDING: found.take("gpt_neox.embed_in.weight", rows, dim)}
    for number in range(num_layers):
        its = take_layer(found, f"gpt_neox.layers.{number}.", dim, heads, inner)
        tensors.update({base.layer(number, name): tensor for name, tensor in its.items()})
    for kind in ("weight", "bias"):
        tensors[f"{base.FINAL_NORM}.{kind}"] = found.take(f"gpt_neox.final_layer_norm.{kind}", dim)
    tied = bool(config.get("tie_word_embeddings", False))
    output = "embed_out.weight" if "embed_out.weight" in found else "lm_head.weight"
    base.take_output(found, tensors, output, tied)
    found.drop(r".*\.attention\.(masked_)?bias", "the causal mask")
    found.drop(r".*\.rotary_emb\.inv_freq", "made anew from theta")
    return Imported(
        kind="a GPT-NeoX folder",
        encoding="rope",
        position_args=options_of_rotation(config, source),
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm_eps": config.number("layer_norm_eps", 1e-5, float),
            "activation_fn": ACTIVATIONS[config.get("hidden_act", "gelu")],
            "decoder_parallel_residual": bool(config.get("use_parallel_residual", True)),
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_ffn_embed_dim": inner,
            "share_decoder_input_output_embed": tied,
        },
        tensors=tensors,
        length=config.number("max_position_embeddings"),
        special=config.special(bos="bos_token_id", eos="eos_token_id", pad="pad_token_id"),
        dropped=found.finish(),
    )


def options_of_rotation(config, source):
    """Options of RoPE that config.json says, {option: text}."""
    theta = config.number("rotary_emb_base", 10000.0, float)
    config.only(rope_theta=theta)  # which transformers does not read
    arguments = rotation.options(config, source, theta, others=("partial_rotary_factor",))
    share = config.number("rotary_pct", 0.25, float)
    share = rotation.said_of(config).number("partial_rotary_factor", share, float)
    head_dim = config.number("hidden_size") // config.number("num_attention_heads")
    channels = int(head_dim * share)  # rounded down, where we round
    return {**arguments, "fraction": repr(channels / head_dim)}


def take_layer(found, prefix, dim, heads, inner):
    """{name within a layer of ours: tensor} of a layer of gpt-neox.

    Its queries, keys and values are one matrix, a head's three after each other.
    """
    sizes = {base.OUT: (dim, dim), base.FC1: (inner, dim), base.FC2: (dim, inner)}
    tensors = {}
    for name, ours in LAYER.items():
        size = sizes.get(ours, (dim,))
        tensors[f"{ours}.weight"] = found.take(f"{prefix}{name}.weight", *size)
        tensors[f"{ours}.bias"] = found.take(f"{prefix}{name}.bias", size[0])
    fused = f"{prefix}attention.query_key_value"
    for kind, rest in (("weight", (dim,)), ("bias", ())):
        heads_of = found.take(f"{fused}.{kind}", 3 * dim, *rest).unflatten(0, (heads, 3, -1))
        for ours, its in zip((base.Q, base.K, base.V), heads_of.unbind(1), strict=True):
            tensors[f"{ours}.{kind}"] = its.flatten(0, 1)
    return tensors
