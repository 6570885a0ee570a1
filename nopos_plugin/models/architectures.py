"""`--arch transformer_lm_<encoding>[_<size>]`: a table of sizes, times every encoding."""

from argparse import Namespace

from fairseq.models import register_model_architecture
from fairseq.models import transformer_lm as stock

from nopos_plugin import positions
from nopos_plugin.models.blocks import OPTIONS, SCALES, BlockConfig
from nopos_plugin.models.transformer_lm import check_stock_flags
from nopos_plugin.positions.options import build_config, parse

# What LLaMA's and T5's blocks have in common.
BIASLESS = {
    "decoder_normalize_before": True,
    "decoder_norm": "rms",
    "decoder_no_bias": True,
    "no_scale_embedding": True,
    "dropout": 0.0,
}


# T5's blocks without an encoder: the models of Kazemnejad et al. (2023)
T5 = {
    **BIASLESS,
    "decoder_norm_eps": 1e-6,
    "decoder_init": "t5",
    "decoder_unscaled_attention": True,
    "share_decoder_input_output_embed": True,
    "final_logit_scale": lambda args: args.decoder_embed_dim**-0.5,
}
DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "decoder_final_dropout")
T5_BASE = {
    "decoder_layers": 12,
    "decoder_embed_dim": 768,
    "decoder_attention_heads": 12,
    "decoder_ffn_embed_dim": 3072,
    **T5,
    **dict.fromkeys(DROPOUTS, 0.1),
}


def preset(**values):
    """A function that fills `values` into what was not said, as stock's sizes are.

    A value may be a function of what was filled in before it.
    """

    def fill(args):
        for name, value in values.items():
            if not hasattr(args, name):
                setattr(args, name, value(args) if callable(value) else value)
        for name in ("decoder_input_dim", "decoder_output_dim"):
            setattr(args, name, args.decoder_embed_dim)
        stock.base_lm_architecture(args)

    return fill


SIZES = {
    "": lambda args: None,  # as stock transformer_lm: the defaults of the dataclass (post-norm)
    "_wiki103": stock.transformer_lm_baevski_wiki103,
    "_gpt3_small": stock.transformer_lm_gpt3_small,
    "_gpt3_medium": stock.transformer_lm_gpt3_medium,
    "_gpt3_large": stock.transformer_lm_gpt3_large,
    "_gpt3_xl": stock.transformer_lm_gpt3_xl,
    # LLaMA's blocks; "151M" of He et al. (2024), whose 32,000 types make it 162 million
    "_bipe_151m": preset(
        **BIASLESS,
        decoder_layers=12,
        decoder_embed_dim=768,
        decoder_attention_heads=12,
        decoder_ffn_embed_dim=3072,
        decoder_glu="swiglu",
    ),
    "_t5base": preset(**T5_BASE),
    # for a CPU: T5-Efficient-tiny's shape (Tay et al., 2022)
    "_t5tiny": preset(
        decoder_layers=4,
        decoder_embed_dim=256,
        decoder_attention_heads=4,
        decoder_head_dim=32,
        decoder_ffn_embed_dim=1024,
        **T5,
    ),
    # the code models
    "_codelm_1b": preset(
        decoder_layers=24,
        decoder_embed_dim=1024,
        decoder_attention_heads=32,
        decoder_head_dim=128,
        decoder_ffn_embed_dim=16384,
        **T5,
    ),
}

# What the config of a checkpoint may lack: stock ones, older ones.
MISSING = {
    "position_args": "",
    "trained_position_encoding": None,
    "trained_position_args": None,
    "trained_dictionary": None,
    "trained_opener": None,
    "attention_kernel": "auto",
    "attention_window": None,
    "document_mask": False,
    "decoder_xformers_att_config": None,
    **dict.fromkeys(SCALES, False),
    **{name: getattr(BlockConfig, name) for name in OPTIONS},
}


def names():
    """Every architecture of ours."""
    return [f"transformer_lm_{encoding}{size}" for encoding in positions.names() for size in SIZES]


def architecture(encoding, size, fill_size):
    """The function that fairseq calls to fill in what was not said.

    It gets a Namespace of what the user typed, where a flag that contradicts the encoding is an
    error, while the size's own preset of it (gpt3 sizes learn positions) is overwritten. When a
    model is built, it gets the whole config: hydra's, or a checkpoint's, perhaps a stock one's.
    """

    def fill(args):
        typed = isinstance(args, Namespace)
        chosen = positions.get(getattr(args, "position_encoding", None) or encoding)
        if typed:
            check_stock_flags(chosen, args)
            build_config(chosen, parse(getattr(args, "position_args", "")))
        elif size and not args.decoder_normalize_before:  # every size is pre-norm
            name = f"transformer_lm_{encoding}{size}"
            raise ValueError(
                f"model._name={name}: the configuration is not of this size, and hydra does not "
                f"apply sizes: take the yaml, --config-dir examples/hydra model={name}"
            )
        args.position_encoding = chosen.name
        for flag, implied in chosen.stock_flags.items():
            setattr(args, flag, implied)
        if not typed:
            for name, default in MISSING.items():
                setattr(args, name, args[name] if name in args else default)
        activation = getattr(args, "activation_fn", None)
        fill_size(args)
        if typed and getattr(args, "decoder_glu", None):
            if activation is not None:
                raise ValueError(
                    f"--activation-fn {activation} has no effect with --decoder-glu "
                    f"{args.decoder_glu}: leave one of them out"
                )
            args.activation_fn = "relu"  # the default, over the size's own

    return fill


for _encoding in positions.names():
    for _size, _fill_size in SIZES.items():
        register_model_architecture(
            "position_transformer_lm", f"transformer_lm_{_encoding}{_size}"
        )(architecture(_encoding, _size, _fill_size))
