"""nopos-show-bias: what encodings make of distance, by head, fresh or as trained."""

import argparse
import json
import os
import sys
from argparse import Namespace
from dataclasses import dataclass

import torch
from fairseq import utils

from nopos_plugin import positions
from nopos_plugin.cli import arguments, checkpoint, preparing
from nopos_plugin.evaluation.table import heading, line
from nopos_plugin.importers import weights
from nopos_plugin.models.architectures import MISSING
from nopos_plugin.models.transformer_lm import build_encoding
from nopos_plugin.positions import PositionEncoding
from nopos_plugin.positions.by_distance import FAR, THRESHOLD, curves
from nopos_plugin.positions.options import format_config, parse

COMMAND = "nopos-show-bias"
FRESH = {"heads": 8, "head_dim": 64, "layers": 1, "seed": 1}
DISTANCES = 1024
STATE = "decoder.encoding."  # what its tensors are called in a checkpoint
NOTE = (
    f"below {THRESHOLD:g} from: effective length, the first distance at which the bias, as it is "
    f"added to scores, is below {THRESHOLD:g}; nowhere: at none up to {FAR - 1:,}"
)


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Draw what position encodings make of distance: the bias of each head and its "
        f"effective length, the first distance whose bias is below {THRESHOLD:g}; what rotations "
        "make of the score of a unit query and an equal key, by plane and in the mean; the cosine "
        "of what is added to embeddings at two positions. The numbers are printed, too, and are "
        "lines of JSON.",
    )
    add = made.add_argument
    add("encoding", nargs="*", metavar="ENCODING", help="as it is before training")
    add("--path", metavar="CKPT,..", help="checkpoints instead; no data-bin is needed")
    add(
        "--position-args",
        metavar="K=V,..",
        help="options of the encodings; of checkpoints, over what they were trained with",
    )
    for name, what in (
        ("heads", "of an ENCODING"),
        ("head-dim", "channels a head of an ENCODING"),
        ("layers", "of an ENCODING"),
        ("seed", "of what an ENCODING draws"),
    ):
        default = FRESH[name.replace("-", "_")]
        add(f"--{name}", type=arguments.count, metavar="N", help=f"{what} (default: {default})")
    add(
        "--distances",
        type=arguments.count,
        metavar="N",
        help="up to which (default: 4 times the longest training length of the checkpoints, or "
        f"{DISTANCES})",
    )
    add(
        "--output",
        default="bias",
        metavar="PREFIX",
        help="for PREFIX.png, PREFIX.svg and PREFIX.jsonl (default: bias)",
    )
    add("--user-dir", metavar="DIR", help="a fairseq user directory besides this plugin")
    return made


def main(typed=None):
    """The exit status: 0 if the pictures are there, else 1. (argparse exits with 2.)"""
    options = parser().parse_intermixed_args(typed)
    return preparing.run(COMMAND, lambda: show(options), quiet=True)


def show(options):
    """Compute, draw, print."""
    from nopos_plugin.plots import bias  # matplotlib, which says much when it is imported

    if options.user_dir is not None:
        utils.import_user_module(Namespace(user_dir=options.user_dir))
    subjects = list(trained(options) if options.path else fresh(options))
    reach = options.distances or 4 * max(one.trained or 0 for one in subjects) or DISTANCES
    rows, answers, silent = [], [], []
    for subject in subjects:
        found = subject.curves(reach + 1)
        if not found:
            name = subject.encoding.name
            silent.append(
                f"{name} adds nothing, turns nothing and has no bias: there is nothing to draw"
            )
        for curve in found:
            rows.append(subject.row(curve))
            planes = None if curve.planes is None else curve.planes.numpy()
            about = subject.about(len(curve.values))
            answers.append(bias.Answer(rows[-1], about, curve.values.numpy(), planes))
    if not answers:
        raise ValueError("; ".join(dict.fromkeys(silent)))
    files = bias.draw(answers, THRESHOLD, options.output)
    with open(f"{options.output}.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    columns = columns_of(rows)
    print("\n".join([heading(columns), *(line(row, columns) for row in rows)]))
    if any(row["answer"] == "bias" for row in rows):
        print(NOTE)
    for sentence in dict.fromkeys(silent):
        print(sentence)
    print("\n".join([*files, file.name]))


class EverySymbol(dict):
    """The indices of a dictionary; what is drawn depends on none, so no data-bin is needed."""

    def __contains__(self, symbol):
        return True

    def __missing__(self, symbol):
        return 4


DICTIONARY = Namespace(pad=lambda: 1, indices=EverySymbol())  # 1 as in all of fairseq's


def fresh(options):
    """Subjects of the encodings that are named. Raises ValueError."""
    if not options.encoding:
        raise ValueError(f"name an ENCODING ({', '.join(positions.names())}), or a --path")
    sizes = {name: getattr(options, name) or default for name, default in FRESH.items()}
    shape = positions.Shape(
        num_heads=sizes["heads"],
        head_dim=sizes["head_dim"],
        embed_dim=sizes["heads"] * sizes["head_dim"],
        num_layers=sizes["layers"],
        max_length=(options.distances or DISTANCES) + 1,
        dictionary=DICTIONARY,
    )
    for name in dict.fromkeys(options.encoding):
        torch.manual_seed(sizes["seed"])
        encoding = positions.build(name, parse(options.position_args), shape)
        yield Subject(encoding, seed=sizes["seed"])


def trained(options):
    """Subjects of the checkpoints that are named. Raises ValueError."""
    others = {"ENCODING": options.encoding}
    others |= {f"--{name.replace('_', '-')}": getattr(options, name) for name in FRESH}
    for name, value in others.items():
        if value:
            raise ValueError(f"--path says what the encodings are: leave {name} out")
    for path in dict.fromkeys(checkpoint.paths(options.path)):
        state = read(path)
        length = state["cfg"]["task"]["tokens_per_sample"]
        args = Namespace(**{**MISSING, **state["cfg"]["model"]})
        args.max_target_positions = args.max_target_positions or length
        if options.position_args is not None:
            args.position_args = options.position_args
        task = Namespace(args=Namespace(data=None), source_dictionary=DICTIONARY)
        encoding = build_encoding(args, task)
        own = {name: x for name, x in state["model"].items() if name.startswith(STATE)}
        encoding.load_state_dict({name.removeprefix(STATE): x for name, x in own.items()})
        yield Subject(encoding, path, length)


def read(path):
    """What a checkpoint of ours holds, tensors mapped into memory. Raises ValueError."""
    try:
        state, reason = weights.unpickled(path), f"{path} does not say what encoding it has"
    except ValueError as error:
        state, reason = None, str(error).removesuffix(f", and {weights.PICKLE}")
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or f"{STATE}_extra_state" not in model:
        raise ValueError(
            f"--path: {reason}; it is no checkpoint of this plugin (nopos-import makes one of "
            "other models)"
        )
    return state


@dataclass(frozen=True)
class Subject:
    """An encoding, and where it is from: a checkpoint, trained on so many tokens, or a seed."""

    encoding: PositionEncoding
    checkpoint: str | None = None
    trained: int | None = None
    seed: int | None = None

    def curves(self, count):
        """At the first `count` distances that there are; empty if it answers nothing."""
        return curves(self.encoding, min(count, self.encoding.max_positions or count))

    def unit(self, curve):
        """What its distances count."""
        within = curve.answer == "embedding"
        return self.encoding.within_counts if within else self.encoding.order_counts

    def row(self, curve):
        """A line of JSON, and of the table."""
        shape, length, values = self.encoding.shape, curve.effective_length, curve.values.tolist()
        return {
            "position_encoding": self.encoding.name,
            "position_args": format_config(self.encoding.config),
            "num_heads": shape.num_heads,
            "head_dim": shape.head_dim,
            "num_layers": shape.num_layers,
            "checkpoint": self.checkpoint,
            "trained_tokens": self.trained,
            "seed": self.seed,
            "answer": curve.answer,
            "layers": curve.layers,
            "head": curve.head,
            "unit": self.unit(curve),
            "effective_length": length if length != FAR else None,
            # + 0.0 makes 0 of -0
            "by_distance": {f"{x}": values[x] + 0.0 for x in (0, *powers(2, len(values)))},
        }

    def about(self, count):
        """What a picture says of it: options that are not the default, and the checkpoint."""
        default = parse(format_config(self.encoding.Config(), all_options=True))
        now = parse(format_config(self.encoding.config))
        said = [",".join(f"{key}={value}" for key, value in now.items() if value != default[key])]
        if self.encoding.rotates_by_length:
            said.append(f"in an input of {count:,} tokens")
        if self.checkpoint is not None:
            said.append("/".join(self.checkpoint.split(os.sep)[-3:]))
        return [*filter(None, said)]


def powers(base, end):
    """1, base, base^2, ... below `end`."""
    power = 1
    while power < end:
        yield power
        power *= base


def columns_of(rows):
    """Those of the table: (title, width, what of a row)."""
    farthest = max(int(x) for row in rows for x in row["by_distance"])

    def value(x):
        return lambda row: f"{row['by_distance'][x]:.3g}" if x in row["by_distance"] else ""

    def length(row):
        if row["answer"] != "bias":
            return ""
        return "nowhere" if row["effective_length"] is None else f"{row['effective_length']:,}"

    checkpoints = ("checkpoint", -32, lambda row: row["checkpoint"][-32:])
    return (
        *([checkpoints] if rows[0]["checkpoint"] else []),
        ("encoding", -12, lambda row: row["position_encoding"]),
        ("answer", -9, lambda row: row["answer"]),
        ("layer", 5, lambda row: numbers(row["layers"])),
        ("head", 4, lambda row: numbers(row["head"] if row["head"] is None else [row["head"]])),
        (f"below {THRESHOLD:g} from", 13, length),
        ("unit", -9, lambda row: row["unit"]),
        *((f"at {x}", 9, value(f"{x}")) for x in (0, *powers(4, farthest + 1))),
    )


def numbers(some):
    """Of layers or heads."""
    return "all" if some is None else ",".join(map(str, some))


if __name__ == "__main__":
    sys.exit(main())
