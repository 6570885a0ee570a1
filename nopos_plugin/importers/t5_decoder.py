"""The decoders of T5's blocks of the length generalization study (Kazemnejad et al., 2023)."""

from nopos_plugin.importers import base, weights
from nopos_plugin.importers.base import Config, Imported

# position_encoding_type -> (encoding, its options); of a rotating head's channels a quarter do.
ENCODINGS = {
    "none": ("nopos", {}),
    "alibi": ("alibi", {}),
    "rotary": ("rope", {"fraction": "0.25", "layout": "interleaved"}),
    "t5_relative_bias": ("t5", {}),
}
ENCODINGS["new_rotary"] = ENCODINGS["rotary_rerun"] = ENCODINGS["rotary"]


def recognises(config):
    return "position_encoding_type" in config and "d_kv" in config


def convert(source, config):
    """The Imported of the folder `source.path`, whose config.json is `config`."""
    config = Config(config, source.path / "config.json")
    found = weights.of_folder(source.path, source.trusted)
    config.only(position_encoding_type=tuple(ENCODINGS), feed_forward_proj="relu")
    encoding, arguments = ENCODINGS[config.get("position_encoding_type")]
    dim, heads, head_dim = (config.number(name) for name in ("d_model", "num_heads", "d_kv"))
    inner, rows = config.number("d_ff"), config.number("vocab_size")
    num_layers = config.number("num_decoder_layers", config.get("num_layers"))
    sizes = {
        "layer.0.SelfAttention.q": (base.Q, (heads * head_dim, dim)),
        "layer.0.SelfAttention.k": (base.K, (heads * head_dim, dim)),
        "layer.0.SelfAttention.v": (base.V, (heads * head_dim, dim)),
        "layer.0.SelfAttention.o": (base.OUT, (dim, heads * head_dim)),
        "layer.0.layer_norm": (base.ATTENTION_NORM, (dim,)),
        "layer.2.DenseReluDense.wi": (base.FC1, (inner, dim)),
        "layer.2.DenseReluDense.wo": (base.FC2, (dim, inner)),
        "layer.2.layer_norm": (base.FEED_FORWARD_NORM, (dim,)),
    }
    embedding, copy = "shared.weight", "decoder.embed_tokens.weight"
    if embedding not in found:
        embedding, copy = copy, embedding
    tensors = {base.EMBEDDING: found.take(embedding, rows, dim)}
    base.take_output(found, tensors, copy, tied=True)  # the other name of the same
    for number in range(num_layers):
        for name, (ours, size) in sizes.items():
            taken = found.take(f"decoder.block.{number}.{name}.weight", *size)
            tensors[base.layer(number, f"{ours}.weight")] = taken
    tensors[f"{base.FINAL_NORM}.weight"] = found.take("decoder.final_layer_norm.weight", dim)
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    if encoding == "t5":
        buckets = config.number("relative_attention_num_buckets", 32)
        most = config.number("relative_attention_max_distance", 128)
        arguments = {"buckets": str(buckets), "max_distance": str(most)}
        tensors["decoder.encoding.weight"] = found.take(bias, buckets, heads)
    found.drop(bias.replace(".", r"\."), f"not used by {config.get('position_encoding_type')}")
    found.drop(r"decoder\.block\.\d+\.layer\.1\..*", "cross-attention, which nothing attends by")
    found.drop(r"decoder\.alibi", "made anew from the slopes")
    tied = bool(config.get("tie_word_embeddings", True))
    base.take_output(found, tensors, "lm_head.weight", tied)
    return Imported(
        kind="a T5-style decoder",
        encoding=encoding,
        position_args=dict(arguments),
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm": "rms",
            "decoder_norm_eps": config.number("layer_norm_epsilon", 1e-6, float),
            "decoder_no_bias": True,
            "decoder_unscaled_attention": True,
            "decoder_head_dim": head_dim if head_dim * heads != dim else None,
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_ffn_embed_dim": inner,
            "share_decoder_input_output_embed": tied,
            "final_logit_scale": dim**-0.5 if tied else 1.0,
        },
        tensors=tensors,
        length=config.number("n_positions", 1024),
        special=config.special(bos="bos_token_id", eos="eos_token_id", pad="pad_token_id"),
        dropped=found.finish(),
    )
