"""Text as words that fairseq-preprocess can read: every byte a symbol.

    python spell.py FOLDER

turns FOLDER/{train,valid}.txt into FOLDER/{train,valid}.bytes and writes FOLDER/dict.txt. A visible
ASCII character stands for itself, another byte is written <20> (a space), <c3> ... One line of text
is one line of symbols, blank lines too, and the newline is the </s> with which fairseq ends each
line. So any file has exactly one spelling, one token is one byte, and no <unk> is possible.
"""

import sys
from collections import Counter
from pathlib import Path

SYMBOLS = [chr(byte) if 0x20 < byte < 0x7F else f"<{byte:02x}>" for byte in range(256)]
NEWLINE = ord("\n")


def spell(text, path):
    """Writes `text` (bytes, ending with a newline) to `path`, spelled."""
    with path.open("w", encoding="ascii") as file:
        for line in text.removesuffix(b"\n").split(b"\n"):
            file.write(" ".join([SYMBOLS[byte] for byte in line]) + "\n")


def main(folder):
    folder = Path(folder)
    for split in ("train", "valid"):
        text = (folder / f"{split}.txt").read_bytes()
        spell(text, folder / f"{split}.bytes")
        if split == "train":
            counts = Counter(text)
    with (folder / "dict.txt").open("w", encoding="ascii") as file:
        for byte in sorted(set(range(256)) - {NEWLINE}, key=lambda byte: (-counts[byte], byte)):
            file.write(f"{SYMBOLS[byte]} {counts[byte]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
