"""nopos-export: a checkpoint in Hugging Face's format."""

import argparse
import json
import sys
from pathlib import Path

from fairseq import utils
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from nopos_plugin import exporters
from nopos_plugin.cli import checkpoint, folder, preparing
from nopos_plugin.exporters.base import Model
from nopos_plugin.prepare import manifest
from nopos_plugin.prepare.tokenizers.base import SPECIAL
from nopos_plugin.prepare.tokenizers.coder import Coder, of_data_bin
from nopos_plugin.prepare.tokenizers.tokenizer_json import TokenizerJson

COMMAND = "nopos-export"
SYMBOLS = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Write a checkpoint as a folder that transformers loads, where one of its "
        "classes (LLaMA, GPT-NeoX, GPT-2) computes what the model computes: the folder that "
        "nopos-import read, ids and numbers, if it was imported. Else it says what has no place.",
    )
    checkpoint.add_options(made)
    made.add_argument("--out", required=True, metavar="DIR", help="which must not be there yet")
    made.add_argument(
        "--tokenizer-json",
        type=Path,
        metavar="FILE",
        help="of the model, which decides the order of its ids (default: what is beside the "
        "checkpoint, or made its data-bin; else words in the order of the dictionary)",
    )
    made.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a data-bin with the checkpoint's dictionary (default: that of its training)",
    )
    return made


def main(typed=None):
    """The exit status: 0 if the folder is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_intermixed_args(typed)
    return preparing.run(COMMAND, lambda: export(options), quiet=True)


def export(options):
    """Load, convert, and write all or nothing."""
    out = folder.new(options.out)
    (path,) = checkpoint.paths(options.path, most=1)
    subject = checkpoint.Checkpoint(path, options.data, options)
    if not hasattr(subject.model.decoder, "encoding"):
        raise ValueError(f"{path} is no model of this plugin: nopos-import makes one of it")
    words, pieces, rows = vocabulary(subject, options.tokenizer_json)
    ids = {piece: i for i, piece in pieces.items()}
    model = Model(
        args=subject.config.model,
        encoding=subject.model.decoder.encoding,
        state=subject.model.state_dict(),
        rows=rows,
        special={name: ids[piece] for name, piece in SYMBOLS.items() if piece in ids},
    )
    kind, config, tensors = exporters.export(model)
    # safetensors takes no views of one another
    whole = {name: x.cpu().contiguous().clone() for name, x in tensors.items()}
    with folder.whole(out) as place:
        config["dtype"] = config["torch_dtype"] = subject.dtype
        write_json(place / "config.json", config)
        write_json(place / "tokenizer_config.json", described(model, pieces))
        words.save(str(place / "tokenizer.json"))
        save_file(whole, place / "model.safetensors", {"format": "pt"})
    print(f"{out}: {kind}, {sum(tensor.numel() for tensor in whole.values()):,} numbers")


def vocabulary(subject, named):
    """(tokenizer, {id: piece}, dictionary index of each id).

    Symbols without probability have no id where the order is that of the dictionary.
    """
    dictionary = subject.task.source_dictionary
    beside = Path(subject.path).parent / "tokenizer.json"
    file = named or (beside if beside.is_file() else of_data(subject.config.task.data))
    if file is not None:
        made = TokenizerJson(file)
        Coder(made, dictionary)  # which compares them
        return Tokenizer.from_file(str(file)), made.pieces, made.rows
    rows = [i for i in range(len(dictionary)) if i not in subject.model.decoder.absent]
    pieces = {i: dictionary.symbols[index] for i, index in enumerate(rows)}
    made = Tokenizer(
        models.WordLevel({piece: i for i, piece in pieces.items()}, unk_token=SPECIAL[3])
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made, pieces, rows


def of_data(data):
    """The tokenizer.json that made the data-bin `data`; None if another tokenizer did.

    Raises ValueError if it is no longer there.
    """
    folder = utils.split_paths(data)[0]
    if not Path(folder, manifest.NAME).is_file() or not (
        manifest.read(folder).get("tokenizer", {}).get("name") == TokenizerJson.name
    ):
        return None
    return of_data_bin(folder).tokenizer_json


def described(model, pieces):
    """tokenizer_config.json"""
    special = {f"{name}_token": pieces[i] for name, i in model.special.items()}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **special}


def write_json(path, content):
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
