"""Documents to train on, of text and of passkeys, and a vocabulary for both.

    python documents.py TEXT FOLDER WINDOW FACTOR

TEXT has train.txt and valid.txt; FOLDER has lessons/ and long-lessons/ of nopos-make-task passkey,
and gets lines of JSON, text and passkeys in each: short.jsonl, text in pieces of a window;
long.jsonl, in pieces of five windows, which is as far as PoSE looks; full.jsonl, in pieces of
FACTOR windows, and long lessons. valid.jsonl is text alone. tokenizer.json: byte-level BPE of TYPES
types, a digit a token.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from vocabulary import byte_level_bpe  # examples/vocabulary.py

TYPES = 1024
CHARACTERS = 3.3  # of a token of the text, at most
REACH = 5  # windows
VALID = 60_000  # characters of validation text


def pieces(text, size):
    """`text` cut at the first line end after each `size` characters."""
    found, start = [], 0
    while start < len(text):
        end = text.find("\n", start + size)
        end = len(text) if end < 0 else end + 1
        found.append(text[start:end])
        start = end
    return [piece for piece in found if piece.strip()]


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")


def lessons(folder):
    lines = Path(folder, "train.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def main(text, folder, window, factor):
    folder, size = Path(folder), CHARACTERS * int(window)
    train, valid = (
        Path(text, f"{split}.txt").read_text("utf-8", "replace") for split in ("train", "valid")
    )
    told, long = lessons(folder / "lessons"), lessons(folder / "long-lessons")
    # name: windows of a piece, passkeys, and how many of them a piece
    kinds = {"short": (1, told, 1), "long": (REACH, told[::-1], 2), "full": (int(factor), long, 1)}
    for name, (windows, its, share) in kinds.items():
        cut = pieces(train, int(size * windows))
        write(folder / f"{name}.jsonl", [*cut, *its[: share * len(cut)]])
    write(folder / "valid.jsonl", pieces(valid, VALID)[:1])
    texts = [*pieces(train, int(size)), *told]
    byte_level_bpe(texts, TYPES).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
