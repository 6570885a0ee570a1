"""Hugging Face folders of GPT-2."""

from nopos_plugin.importers import base, weights
from nopos_plugin.importers.base import Config, Imported

ACTIVATIONS = {"gelu_new": "gelu_accurate", "gelu": "gelu", "relu": "relu"}


def recognises(config):
    return config.get("model_type") == "gpt2"


def convert(source, config):
    """The Imported of the folder `source.path`, whose config.json is `config`."""
    config = Config(config, source.path / "config.json")
    found = weights.of_folder(source.path, source.trusted)
    config.only(
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
        activation_function=tuple(ACTIVATIONS),
    )
    dim, length = config.number("n_embd"), config.number("n_positions")
    inner, rows = config.number("n_inner", 4 * dim), config.number("vocab_size")
    num_layers = config.number("n_layer")
    prefix = "transformer." if "transformer.wte.weight" in found else ""
    tensors = {base.EMBEDDING: found.take(f"{prefix}wte.weight", rows, dim)}
    # our table has rows for the pad and before, which no token reads
    table = found.take(f"{prefix}wpe.weight", length, dim)
    tensors["decoder.encoding.weight"] = base.joined([table.new_zeros(2, dim), table])
    for number in range(num_layers):
        theirs = f"{prefix}h.{number}"
        sizes = {
            "ln_1": (base.ATTENTION_NORM, (dim,)),
            "attn.c_proj": (base.OUT, (dim, dim)),
            "ln_2": (base.FEED_FORWARD_NORM, (dim,)),
            "mlp.c_fc": (base.FC1, (dim, inner)),
            "mlp.c_proj": (base.FC2, (inner, dim)),
        }
        for name, (ours, size) in sizes.items():
            # their matrices are (inputs, outputs)
            weight = found.take(f"{theirs}.{name}.weight", *size)
            tensors[base.layer(number, f"{ours}.weight")] = (
                weight.mT if weight.dim() > 1 else weight
            )
            bias = found.take(f"{theirs}.{name}.bias", size[-1])
            tensors[base.layer(number, f"{ours}.bias")] = bias
        weight = found.take(f"{theirs}.attn.c_attn.weight", dim, 3 * dim).mT.chunk(3)
        bias = found.take(f"{theirs}.attn.c_attn.bias", 3 * dim).chunk(3)
        for ours, its_weight, its_bias in zip((base.Q, base.K, base.V), weight, bias, strict=True):
            tensors[base.layer(number, f"{ours}.weight")] = its_weight
            tensors[base.layer(number, f"{ours}.bias")] = its_bias
    for kind in ("weight", "bias"):
        tensors[f"{base.FINAL_NORM}.{kind}"] = found.take(f"{prefix}ln_f.{kind}", dim)
    tied = bool(config.get("tie_word_embeddings", True))
    base.take_output(found, tensors, "lm_head.weight", tied)
    found.drop(r".*\.attn\.(masked_)?bias", "the causal mask")
    return Imported(
        kind="a GPT-2 folder",
        encoding="learned",
        position_args={},
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm_eps": config.number("layer_norm_epsilon", 1e-5, float),
            "activation_fn": ACTIVATIONS[config.get("activation_function", "gelu_new")],
            "decoder_layers": num_layers,
            "decoder_attention_heads": config.number("n_head"),
            "decoder_ffn_embed_dim": inner,
            "share_decoder_input_output_embed": tied,
        },
        tensors=tensors,
        length=length,
        special=config.special(bos="bos_token_id", eos="eos_token_id", pad="pad_token_id"),
        dropped=found.finish(),
    )
