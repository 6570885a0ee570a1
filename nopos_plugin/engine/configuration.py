"""What is typed arrives as it is, and one training of a process leaves nothing to the next."""

import functools
import sys

from fairseq import checkpoint_utils
from fairseq.dataclass import utils
from fairseq.logging import progress_bar
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def refuse_what_hydra_changes():
    """A value of the command line that does not survive hydra, its carrier, gets a sentence.

    Both: `${` stands for another option. fixed, with hydra 1.3: a backslash at the end or before a
    quote is a traceback of its grammar, or is dropped.
    """
    override = utils._override_attr

    @functools.wraps(override)
    def _override_attr(sub_node, data_class, args):
        for name, field in getattr(data_class, "__dataclass_fields__", {}).items():
            value = getattr(args, name, None)
            if isinstance(value, str) and value != field.default and not _survives(value):
                option = name if name == "data" else f"--{name.replace('_', '-')}"
                raise ValueError(
                    f"{option} {value}: hydra, which carries fairseq's options, has a use of its "
                    "own for ${ and for a backslash at the end or before a quote: leave it out; "
                    r"in --position-args write \x24 for $, \x5c for a backslash, \x27 for a quote"
                )
        return override(sub_node, data_class, args)

    utils._override_attr = _override_attr


def _survives(text):
    """Whether hydra reads `text`, quoted as fairseq quotes it, as `text`."""
    quoted = text.replace("'", r"\'")
    try:
        read = OverridesParser.create().parse_override(f"x='{quoted}'").value()
    except HydraException:
        return False
    return read == text and "${" not in text


def forget_finished_training():
    """Best loss, patience and event files of a training are not those of the next in the process.

    Both, in `fairseq-hydra-train --multirun`: a later job that is no better than the first saves no
    checkpoint_best, stops early by the first one's losses, and logs into its --tensorboard-logdir.
    """
    load = checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_checkpoint(*args, **kwargs):
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        if "fairseq_cli.train" in sys.modules:
            vars(sys.modules["fairseq_cli.train"].should_stop_early).pop("best", None)
        progress_bar._close_writers()
        progress_bar._tensorboard_writers.clear()
        return load(*args, **kwargs)

    checkpoint_utils.load_checkpoint = load_checkpoint
