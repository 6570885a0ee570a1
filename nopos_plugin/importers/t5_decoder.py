"""The decoders of T5's blocks of the length generalization study (Kazemnejad et al., 2023)."""

import re

from nopos_plugin.importers import base, weights
from nopos_plugin.importers.base import Config, Imported

ENCODINGS = {  # by position_encoding_type
    "none": "nopos",
    "alibi": "alibi",
    "rotary": "rope",
    "new_rotary": "rope",
    "t5_relative_bias": "t5",
}
# Constants that only models of one type have.
MADE_ANEW = {
    "alibi": r"decoder\.alibi",
    "new_rotary": r"decoder\.fixed_rotary_embedding\.embed\.weight",
}


def recognises(config):
    return "position_encoding_type" in config and "d_kv" in config


def convert(source, config):
    """The Imported of the folder `source.path`, whose config.json is `config`."""
    config = Config(config, source.path / "config.json")
    found = weights.of_folder(source.path, source.trusted)
    config.only(feed_forward_proj="relu")
    kind = str(config.get("position_encoding_type"))
    if kind not in ENCODINGS:
        raise ValueError(
            f"{config.source}: position_encoding_type is {kind}, and known are "
            + ", ".join(ENCODINGS)
        )
    dim, heads, head_dim = (config.number(name) for name in ("d_model", "num_heads", "d_kv"))
    inner, rows = config.number("d_ff"), config.number("vocab_size")
    num_layers = config.number("num_layers")
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
    encoding, arguments = ENCODINGS[kind], {}
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    if encoding == "rope":  # a quarter of the channels
        arguments = {"fraction": repr(int(0.25 * head_dim) / head_dim), "layout": "interleaved"}
    if encoding == "t5":
        buckets = config.number("relative_attention_num_buckets", 32)
        most = config.number("relative_attention_max_distance", 128)
        arguments = {"buckets": str(buckets), "max_distance": str(most)}
        tensors["decoder.encoding.weight"] = found.take(bias, buckets, heads)
    found.drop(re.escape(bias), f"not used by {kind}")
    found.drop(r"decoder\.block\.\d+\.layer\.1\..*", "cross-attention, which nothing attends by")
    if kind in MADE_ANEW:
        found.drop(MADE_ANEW[kind], "made anew")
    tied = bool(config.get("tie_word_embeddings", True))
    base.take_output(found, tensors, "lm_head.weight", tied)
    return Imported(
        kind="a T5-style decoder",
        encoding=encoding,
        position_args=arguments,
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
