"""`--arch transformer_lm_<encoding>[_<size>]`: a table of stock sizes, times every encoding."""

from fairseq.models import register_model_architecture
from fairseq.models import transformer_lm as stock

from nopos_plugin import positions
from nopos_plugin.models.transformer_lm import check_stock_flags
from nopos_plugin.positions.options import build_config, parse

SIZES = {
    "": lambda args: None,  # as stock transformer_lm: the defaults of the dataclass (post-norm)
    "_wiki103": stock.transformer_lm_baevski_wiki103,
    "_gpt3_small": stock.transformer_lm_gpt3_small,
    "_gpt3_medium": stock.transformer_lm_gpt3_medium,
    "_gpt3_large": stock.transformer_lm_gpt3_large,
    "_gpt3_xl": stock.transformer_lm_gpt3_xl,
}


def names():
    """Every architecture of ours."""
    return [f"transformer_lm_{encoding}{size}" for encoding in positions.names() for size in SIZES]


def architecture(encoding, fill_size):
    """The function that fairseq calls with what the user typed, to fill in the rest.

    A flag that the user typed and that contradicts the encoding is an error; the size's own preset
    of it (gpt3 sizes learn positions) is overwritten.
    """

    def fill(args):
        args.position_encoding = getattr(args, "position_encoding", encoding)
        chosen = positions.get(args.position_encoding)
        build_config(chosen, parse(getattr(args, "position_args", "")))
        check_stock_flags(chosen, args)
        vars(args).update(chosen.stock_flags)
        fill_size(args)

    return fill


for _encoding in positions.names():
    for _size, _fill_size in SIZES.items():
        register_model_architecture(
            "position_transformer_lm", f"transformer_lm_{_encoding}{_size}"
        )(architecture(_encoding, _fill_size))
