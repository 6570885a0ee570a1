"""nopos-benchmark: what encodings, kernels, evaluation and data preparation cost, side by side."""

import argparse
import dataclasses
import sys

import torch

from nopos_plugin import positions
from nopos_plugin.attention import KERNELS
from nopos_plugin.benchmark import (
    attention,
    evaluation,
    extension,
    preparation,
    records,
    tables,
    train,
)
from nopos_plugin.benchmark.budget import Budget
from nopos_plugin.benchmark.candidates import DENSE
from nopos_plugin.benchmark.comparison import LOSS
from nopos_plugin.benchmark.corpus import SEGMENT
from nopos_plugin.benchmark.preparation_table import data_table
from nopos_plugin.cli.arguments import count, counts, device, minutes, name, names, share
from nopos_plugin.cli.evaluate import strides

KERNEL_NAMES = ("auto", *sorted(KERNELS))
# flag: type, default, metavar, help
ATTENTION = {
    "--encodings": (names(positions.names()), "all", "NAME,..", "encodings"),
    "--kernels": (
        names((*KERNEL_NAMES, DENSE)),
        f"auto,{DENSE}",
        "NAME,..",
        f"of {', '.join((*KERNEL_NAMES, DENSE))}",
    ),
    "--lengths": (counts, "512,1024,2048,4096,8192,16384", "T,..", "tokens of a sequence"),
    "--batch": (count, 2, "B", "sequences of a batch, at most"),
    "--max-tokens": (count, 8192, "N", "tokens of a batch, at most, unless one sequence has more"),
    "--heads": (count, 8, "H", "heads"),
    "--head-dim": (count, 64, "D", "channels of a head"),
    "--dtype": (name("float32", "bfloat16", "float16"), "float32", "TYPE", "of q, k and v"),
    "--window": (count, None, "W", "keys that a query sees at most, save in the floor"),
    "--repeats": (count, 5, "N", "rounds"),
}
TRAIN = {
    "--encodings": (names(positions.names()), "all", "NAME,..", "encodings, besides nopos"),
    "--kernels": (
        names(KERNEL_NAMES),
        "auto",
        "NAME,..",
        f"--attention-kernel, of {', '.join(KERNEL_NAMES)}; sdpa makes a dense bias in each layer",
    ),
    "--layers": (count, 6, "N", "layers"),
    "--dim": (count, 512, "C", "channels; four times as many between feed-forward layers"),
    "--heads": (count, 8, "H", "heads"),
    "--length": (count, 2048, "T", "tokens of a sequence"),
    "--max-tokens": (count, 4096, "N", "tokens of a batch, at most"),
    "--updates": (count, 8, "N", "updates of a training; the first 2 are not counted"),
    "--rounds": (count, 3, "N", "rounds"),
}
EXTENSION = {
    "--encoding": (name(*positions.names()), "rope", "NAME", "encoding"),
    "--window": (count, 2048, "W", "tokens of a sample of PoSE"),
    "--targets": (counts, "16384,65536,131072", "T,..", "lengths to extend to"),
    "--layers": (count, 4, "N", "layers"),
    "--dim": (count, 256, "C", "channels; four times as many between feed-forward layers"),
    "--heads": (count, 4, "H", "heads"),
    "--updates": (count, 5, "N", "updates of a training; the first 2 are not counted"),
    "--rounds": (count, 3, "N", "rounds"),
}
EVAL = {
    "--softmax": (names(evaluation.SOFTMAXES), "all", "NAME,..", "full, adaptive or both"),
    "--layers": (count, 6, "N", "layers"),
    "--dim": (count, 512, "C", "channels; four times as many between feed-forward layers"),
    "--heads": (count, 8, "H", "heads"),
    "--types": (count, 33000, "V", "types of the dictionary, with a full softmax"),
    "--adaptive-types": (count, 267744, "V", "types, with an adaptive softmax"),
    "--cutoffs": (counts, "20000,60000", "V,..", "where the bands of an adaptive softmax end"),
    "--windows": (counts, "512", "W,..", "tokens of a forward"),
    "--strides": (strides, "64,window", "S,..", "those it scores; `window`: all"),
    "--tokens": (count, 4096, "N", "tokens scored, rounded up to whole batches of all sizes"),
    "--batch-sizes": (counts, "1,2,4,8,16,32", "B,..", "of fairseq-eval-lm; the best one counts"),
    "--rounds": (count, 2, "N", "rounds; all batch sizes are in the first, then the best ones"),
    "--taken-as": (
        name("sinusoidal", "stock"),
        "sinusoidal",
        "sinusoidal|stock",
        "nopos-evaluate loads the checkpoint as transformer_lm_sinusoidal, whose last layer "
        "computes what is scored alone, or as what it is",
    ),
}
DATA = {
    "--gpt2-vocab-bpe": (str, None, "X", "GPT-2's vocab.bpe, if not beside encoder.json"),
    "--gpt2-dict": (str, None, "X", "fairseq's dict.txt, if not beside encoder.json"),
    "--copies": (
        counts,
        "1",
        "K,..",
        "how often nopos-prepare-pile has the sources; the classic route has them once",
    ),
    "--workers": (count, 2, "N", "processes that tokenize, of either"),
    "--rounds": (count, 3, "N", "rounds"),
}
SPENT = {
    "--budget-minutes": (minutes, 20.0, "M", "for all; what does not fit is listed as not run"),
    "--output": (str, "benchmark.jsonl", "FILE", "results are added to it, a line of JSON each"),
}
COMMON = {
    "--device": (
        device,
        "cuda" if torch.cuda.is_available() else "cpu",
        "cpu|cuda",
        "where to run; on one GPU only",
    ),
    "--threads": (count, torch.get_num_threads(), "N", "threads of the CPU"),
    "--seed": (int, 0, "N", "seed of weights and data"),
    "--memory-share": (share, 0.5, "X", "what needs more of the machine's memory is not run"),
    **SPENT,
}


def main(arguments=None):
    """The exit status: 0, or 1 if a process failed or results differ. (argparse exits with 2.)"""
    parser = argparse.ArgumentParser(
        prog="nopos-benchmark",
        description="Measure what encodings, kernels, evaluation and data cost, side by side.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    one = add_command(
        commands,
        "attention",
        "time and memory of the attention of one layer, at several lengths",
        "Time and memory of the attention of one layer, at several lengths, as ratios to PyTorch's "
        "fused causal attention without an encoding: in one process, each candidate once in each "
        "round. Forward is that of evaluation, forward + backward that of "
        f"training. {DENSE} makes bias and causality one full mask. Not counted: what an encoding "
        "adds at the input, and what a model makes once for all its layers (positions, angles). "
        f"Segments, for those who have any, are of {SEGMENT} tokens on average.",
        ATTENTION,
    )
    one.add_argument("--no-memory", dest="memory", action="store_false", help="times only")
    one.set_defaults(benchmark=attention, table=tables.attention_tables)
    one = add_command(
        commands,
        "train",
        "tokens per second and memory of whole updates of fairseq-train",
        "Tokens per second and memory of whole updates of fairseq-train, of a small model of bytes "
        "(260 types, random text), as ratios to nopos: a process for each training, one of each in "
        "each round. What an update takes is read from its log. "
        "Memory is the resident memory of the process, at its peak; a GPU's is not measured.",
        TRAIN,
    )
    one.set_defaults(benchmark=train, table=tables.train_table)
    one = add_command(
        commands,
        "extension",
        "seconds and memory of an update of PoSE, and of training at the target length",
        "Seconds and memory of an update of fairseq-train, of one sample: windows at the positions "
        "of the target length (PoSE), and samples as long as that (full), as ratios to windows "
        "without extension. Sizes, processes and rounds are as of nopos-benchmark train.",
        EXTENSION,
    )
    one.set_defaults(benchmark=extension, table=tables.extension_table)
    one = add_command(
        commands,
        "eval",
        "seconds of nopos-evaluate and of stock fairseq-eval-lm, on the same tokens",
        "Seconds of nopos-evaluate, and of stock fairseq-eval-lm --context-window at its best "
        "batch size, on the same windows of one checkpoint: a stock transformer_lm of random "
        "weights and text, in which the n-th word comes 1/n as often as the first. A process for "
        "each, in which the loop alone is timed. The losses must agree, up to "
        f"{LOSS:g} of them. Full: one output layer, the embedding. Adaptive: input and "
        "output in bands, as in transformer_lm_wiki103.",
        EVAL,
    )
    one.set_defaults(benchmark=evaluation, table=tables.eval_table)
    one = add_command(
        commands,
        "data",
        "seconds and memory of nopos-prepare-pile and of the classic route, on the same text",
        "Documents and tokens a second, and memory, of nopos-prepare-pile with GPT-2's BPE and of "
        "the classic route to the same data-bin: fairseq's own encoder in Python, line by line, as "
        "in its example multiprocessing_bpe_encoder.py, then fairseq-preprocess. Fresh processes "
        "in turns, timed from start to end. Both must make the same tokens of the same documents, "
        "but for newlines, in whose place the classic route has </s>.",
        DATA,
        SPENT,
    )
    need = one.add_argument_group("required").add_argument
    text = "documents in the Pile's format (.jsonl, .gz or .zst)"
    need("--sources", nargs="+", required=True, metavar="FILE", help=text)
    need("--gpt2-encoder-json", required=True, metavar="X", help="GPT-2's encoder.json")
    one.set_defaults(benchmark=preparation, table=data_table, device="cpu", threads=1)
    options = parser.parse_args(arguments)
    return run(options)


def add_command(commands, name, summary, description, arguments, common=COMMON):
    parser = commands.add_parser(name, help=summary, description=description)
    for flag, (kind, default, metavar, text) in {**arguments, **common}.items():
        text += "" if default is None else f" (default: {default})"
        parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=text)
    parser.set_defaults(parser=parser)
    return parser


def run(options):
    """Measure, write each result as soon as it is there, and print the tables."""
    budget = Budget(options.budget_minutes)
    fields = dataclasses.fields(options.benchmark.Plan)
    plan = options.benchmark.Plan(**{field.name: getattr(options, field.name) for field in fields})
    try:
        options.benchmark.check(plan)
        file = open(options.output, "a", encoding="utf-8")
    except (ValueError, OSError) as error:
        options.parser.error(str(error))
    origin, rows = records.origin(options.device, options.threads), []
    with file:
        for row in options.benchmark.measure(plan, budget):
            rows.append({**row, **origin})
            records.write(rows[-1], file)
    print(options.table(rows))
    print(f"results: {len(rows)} lines added to {options.output}")
    return int(any(row.get("failed") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
