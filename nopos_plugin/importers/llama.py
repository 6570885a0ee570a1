"""Hugging Face folders of the LLaMA family: plain ones, PoSE's, and BiPE's."""

from nopos_plugin.importers import base, rotation, weights
from nopos_plugin.importers.base import Config, Imported

MODEL = {
    "self_attn.q_proj": base.Q,
    "self_attn.k_proj": base.K,
    "self_attn.v_proj": base.V,
    "self_attn.o_proj": base.OUT,
    "input_layernorm": base.ATTENTION_NORM,
    "post_attention_layernorm": base.FEED_FORWARD_NORM,
    "mlp.down_proj": base.FC2,
}
# BiPE's separators are two ids, whatever the tokenizer; its table ends where its code clamps.
BIPE_SEPARATORS, BIPE_ROWS = (13, 869), 1024


def recognises(config):
    return config.get("model_type") in ("llama", "mistral")  # the latter with a window


def convert(source, config):
    """The Imported of the folder `source.path`, whose config.json is `config`."""
    config = Config(config, source.path / "config.json")
    found = weights.of_folder(source.path, source.trusted)
    config.only(hidden_act=("silu", "swish"), attention_bias=False, mlp_bias=False)
    config.only(log_scale=False, partial_rotary_factor=1.0)
    if "auto_map" in config and "rpe_type" not in config and "scaling" not in source.position_args:
        raise ValueError(
            f"{config.source} names code of its own in auto_map, which may compute something else: "
            "say how it rotates by --position-args scaling=..., or scaling=none if as LLaMA does"
        )
    dim, heads = config.number("hidden_size"), config.number("num_attention_heads")
    kv_heads = config.number("num_key_value_heads", heads)
    head_dim = config.number("head_dim", dim // heads)
    sizes = {
        base.Q: (heads * head_dim, dim),
        base.K: (kv_heads * head_dim, dim),
        base.V: (kv_heads * head_dim, dim),
        base.OUT: (dim, heads * head_dim),
        base.ATTENTION_NORM: (dim,),
        base.FEED_FORWARD_NORM: (dim,),
        base.FC2: (dim, config.number("intermediate_size")),
    }
    rows, num_layers = config.number("vocab_size"), config.number("num_hidden_layers")
    tied = bool(config.get("tie_word_embeddings", False))
    tensors = {base.EMBEDDING: found.take("model.embed_tokens.weight", rows, dim)}
    for number in range(num_layers):
        theirs = f"model.layers.{number}"
        for name, ours in MODEL.items():
            taken = found.take(f"{theirs}.{name}.weight", *sizes[ours])
            tensors[base.layer(number, f"{ours}.weight")] = taken
        gate = base.joined(
            found.take(f"{theirs}.mlp.{name}_proj.weight", *reversed(sizes[base.FC2]))
            for name in ("gate", "up")
        )
        tensors[base.layer(number, f"{base.FC1}.weight")] = gate
    tensors[f"{base.FINAL_NORM}.weight"] = found.take("model.norm.weight", dim)
    base.take_output(found, tensors, "lm_head.weight", tied)
    found.drop(r".*\.rotary_emb\.inv_freq", "made anew from theta")
    encoding, arguments, separators = encoding_of(config, found, tensors, source)
    return Imported(
        kind="BiPE's" if "rpe_type" in config else "a LLaMA folder",
        encoding=encoding,
        position_args=arguments,
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm": "rms",
            "decoder_norm_eps": config.number("rms_norm_eps", 1e-6, float),
            "decoder_no_bias": True,
            "decoder_glu": "swiglu",
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_kv_heads": kv_heads if kv_heads != heads else None,
            "decoder_head_dim": head_dim if head_dim * heads != dim else None,
            "decoder_ffn_embed_dim": sizes[base.FC2][1],
            "share_decoder_input_output_embed": tied,
            "attention_window": config.get("sliding_window"),
        },
        tensors=tensors,
        length=config.number("max_position_embeddings"),
        special=config.special(bos="bos_token_id", eos="eos_token_id", pad="pad_token_id"),
        separators=separators,
        dropped=found.finish(),
    )


def encoding_of(config, found, tensors, source):
    """(encoding, its options, ids of its separators); takes what it has learned."""
    config.only(rpe_type=("rope", "alibi", "bipe_rope", "bipe_alibi"))
    encoding = config.get("rpe_type", "rope")
    arguments, separators = {}, ()
    if encoding.startswith("bipe_"):
        rows = config.number("train_scale")
        table = found.take("model.embeds.0.weight", rows, config.number("hidden_size"))
        tensors["decoder.encoding.weight"] = table[:BIPE_ROWS]
        arguments["size"] = str(min(rows, BIPE_ROWS))
        separators = BIPE_SEPARATORS
    if encoding.endswith("alibi"):
        found.drop(r".*\.self_attn\.alibi", "made anew from the slopes")
        return encoding, arguments, separators
    arguments["layout"] = "half"
    theta = config.number("rope_theta", 10000.0, float)
    if "rpe_type" in config:
        config.only(rope_theta=10000.0)  # its code reads none
    return encoding, {**arguments, **rotation.options(config, source, theta)}, separators
