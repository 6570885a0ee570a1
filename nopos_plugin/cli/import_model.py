"""nopos-import: a model of another system as a checkpoint of this plugin."""

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch
from fairseq.data import Dictionary

from nopos_plugin import importers, positions
from nopos_plugin.cli import folder, preparing
from nopos_plugin.importers import assemble
from nopos_plugin.importers.base import EMBEDDING
from nopos_plugin.positions.options import changed, parse
from nopos_plugin.prepare import manifest
from nopos_plugin.prepare.tokenizers import found
from nopos_plugin.prepare.tokenizers.base import SPECIAL
from nopos_plugin.prepare.tokenizers.tokenizer_json import TokenizerJson, symbol_of

COMMAND = "nopos-import"
SYMBOLS = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}
# What ends a text where nothing says so.
ENDS = ("</s>", "<|endoftext|>")


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make a checkpoint of this plugin of a model of another system: "
        f"{importers.KNOWN}. DIR gets checkpoint.pt, dict.txt, tokenizer.json (for --tokenizer "
        "json of nopos-prepare-text and nopos-passkey), manifest.json, which says what was used "
        "and what dropped, and flags.txt, which fairseq-train takes to fine-tune it.",
    )
    add = made.add_argument
    add("source", metavar="SOURCE", help="a file or a folder")
    add("--out", required=True, metavar="DIR", help="which must not be there yet")
    add(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="of the model: tokenizer.json, tokenizer.model, vocab.json beside merges.txt, or "
        "llama2.c's .bin (default: what is in SOURCE, or beside it)",
    )
    add("--dict", type=Path, metavar="FILE", help="of a checkpoint of fairseq's (default: dict.txt "
        "beside it, or in its data-bin)")  # fmt: skip
    add("--config", type=Path, metavar="FILE", help="of layer files: the yaml of the training "
        "(default: SOURCE/configs/*.yml)")  # fmt: skip
    add(
        "--position-encoding",
        choices=positions.names(),
        metavar="NAME",
        help="what it has, where a source does not say; it is an error to say another",
    )
    add(
        "--position-args",
        default="",
        metavar="K=V,..",
        help="options of the encoding, over what the source says",
    )
    for name, what in (("eos", "ends a text"), ("bos", "begins one"), ("pad", "is a pad")):
        add(f"--{name}", metavar="PIECE", help=f"that {what} (default: as the source says)")
    add(
        "--trust-pickle",
        action="store_true",
        help="read pickles that hold more than tensors, which may run any code of their author's",
    )
    return made


def main(typed=None):
    """The exit status: 0 if the checkpoint is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(COMMAND, lambda: convert(options), quiet=True)


def convert(options):
    """Read, convert, and write all or nothing."""
    out = folder.new(options.out)
    given = parse(options.position_args)
    source = importers.Source(
        Path(options.source),
        options.config,
        options.dict,
        options.position_encoding,
        given,
        options.trust_pickle,
    )
    imported = importers.convert(source)
    if options.position_encoding not in (None, imported.encoding):
        raise ValueError(
            f"--position-encoding {options.position_encoding}: {source.path} is {imported.kind}, "
            f"with {imported.encoding}"
        )
    said = changed(positions.get(imported.encoding), imported.position_args, given)
    imported.position_args = said
    with folder.whole(out) as place:
        write(imported, options, place, out)
    print(report(imported, options.source, out))


def write(imported, options, place, out):
    """Fill the folder `place`, which will be called `out`."""
    tokenizer, rows = None, None
    if imported.symbols is not None:
        symbols = imported.symbols[len(SPECIAL) :]
        separators, absent = (), ()
    else:
        tokenizer = of_model(imported, options, place / "tokenizer.json")
        pieces = tokenizer.pieces
        symbols = tokenizer.symbols
        for i in imported.separators:
            if i not in pieces:
                raise ValueError(f"--tokenizer: it has no piece {i}, which ends a segment")
        separators = [symbol_of(pieces[i]) for i in imported.separators]
        absent = [symbol for symbol in SPECIAL if symbol not in pieces.values()]
        rows = tokenizer.rows
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    dictionary.save(str(place / "dict.txt"))
    words = assemble.flags(imported, separators, absent)
    state = assemble.checkpoint(imported, words, dictionary, out.resolve(), rows)
    torch.save(state, place / "checkpoint.pt")
    (place / "flags.txt").write_text(" ".join(words) + "\n", "utf-8")  # for $(cat), unquoted
    manifest.write(
        place,
        made_by=COMMAND,
        options={},
        sources=[],
        tokenizer=tokenizer.described() if tokenizer else {},
        separators=list(separators),
        splits={},
        imported={
            "source": str(options.source),
            "kind": imported.kind,
            "flags": words,
            "dropped": imported.dropped,
        },
    )


def of_model(imported, options, path):
    """The tokenizer of the model, written to `path` with fairseq's names for its specials."""
    source = Path(options.source)
    named = options.tokenizer or (source if source.is_dir() else source.parent)
    file = found.find(named)
    if file is None:
        raise ValueError(
            f"{named} has no {', no '.join(found.NAMES)}: name the model's by --tokenizer"
        )
    content = found.read(file)
    ids = {piece: i for i, piece in found.pieces(content).items()}
    rows = len(imported.tensors[EMBEDDING])
    if file.suffix == ".bin" and len(ids) != rows:  # which does not say how many it should have
        raise ValueError(f"--tokenizer {file} has {len(ids):,} pieces, and the model {rows:,} rows")
    # an end that has no row is another vocabulary's; a pad that is <unk>, LLaMA's, occurs in texts
    special = {name: i for name, i in imported.special.items() if i < rows}
    if special.get("pad") == ids.get("<unk>"):
        special.pop("pad", None)
    for name in SYMBOLS:
        piece = getattr(options, name)
        if piece is not None:
            if piece not in ids:
                raise ValueError(f"--{name} {piece}: {file} has no such piece")
            special[name] = ids[piece]
    if "eos" not in special:
        ends = [ids[piece] for piece in ENDS if piece in ids]
        if not ends:
            raise ValueError(f"{file} does not say what ends a text: name it by --eos")
        special["eos"] = ends[0]
    imported.special = special
    found.save(found.adopted(content, rows, names_of(special)), path)
    return TokenizerJson(path)


def names_of(special):
    """{id: symbol of fairseq's}; an id that serves for several is the end of a text first."""
    names = {}
    for name in ("eos", "bos", "pad"):
        if name in special:
            names.setdefault(special[name], SYMBOLS[name])
    return names


def report(imported, source, out):
    """What became of it, for people."""
    parameters = sum(tensor.numel() for tensor in imported.tensors.values())
    arguments = ",".join(f"{key}={value}" for key, value in imported.position_args.items())
    dropped = Counter(imported.dropped.values())
    lines = [
        f"{source}: {imported.kind}",
        f"position encoding: {imported.encoding} ({arguments or 'no options'})",
        f"{parameters:,} numbers in {len(imported.tensors)} tensors"
        + "".join(f"; {count} dropped, {why}" for why, count in dropped.items()),
        f"{out}/checkpoint.pt is made; to fine-tune it:",
        f"  fairseq-train DATA --user-dir nopos_plugin --finetune-from-model {out}/checkpoint.pt "
        f"$(cat {out}/flags.txt) ...",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
