"""FOLDER/train.txt and FOLDER/valid.txt: the Python standard library, or a text of yours.

    python corpus.py FOLDER [TEXT]

Both are bytes and end with a newline. The standard library is split by file: its files come in the
order of the SHA-256 of their names, VALID_BYTES for validation, then TRAIN_BYTES for training.
A text is split at a line: its last tenth, at most VALID_BYTES, is for validation. FOLDER/source.txt
says what was taken.
"""

import hashlib
import sys
import sysconfig
from pathlib import Path

VALID_BYTES = 200_000
TRAIN_BYTES = 4_000_000
LARGEST_FILE = 150_000  # beyond are tables and the like
SMALLEST_TEXT = 500_000
LARGEST_TEXT = 10_000_000

# Not in every installation, or mostly data.
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "idle_test", "lib2to3"}
SKIPPED |= {"encodings", "ensurepip", "pydoc_data", "tkinter", "turtledemo"}


def library_files(root):
    """Yields the content of each file of the library in `root`, ordered by a hash of its name."""
    names = (path.relative_to(root) for path in root.rglob("*.py"))
    names = [name for name in names if not SKIPPED.intersection(name.parts)]
    for name in sorted(names, key=lambda name: hashlib.sha256(name.as_posix().encode()).digest()):
        content = (root / name).read_bytes()
        if 0 < len(content) <= LARGEST_FILE:
            yield content if content.endswith(b"\n") else content + b"\n"


def from_library(root):
    """(train, valid, what they are). ValueError where the library comes without enough source."""
    train, valid, num_files = bytearray(), bytearray(), 0
    for content in library_files(root):
        if len(train) >= TRAIN_BYTES:
            break
        part = valid if len(valid) < VALID_BYTES else train
        part += content
        num_files += 1
    if len(train) < TRAIN_BYTES:
        raise ValueError(
            f"the standard library in {root} has only {len(train) + len(valid):,} bytes of source: "
            "name a text with TEXT=path"
        )
    version = ".".join(map(str, sys.version_info[:3]))
    return train, valid, f"standard library of Python {version}, {num_files} files"


def from_text(path):
    """(train, valid, what they are) of one file, of which the rest beyond LARGEST_TEXT is left out.

    ValueError if it is too small or cannot be split.
    """
    with path.open("rb") as file:
        text = file.read(LARGEST_TEXT)
    what = path.name
    if path.stat().st_size > len(text):
        what += f", its first {len(text):,} bytes"
    if not text.endswith(b"\n"):
        text += b"\n"
    if len(text) < SMALLEST_TEXT:
        raise ValueError(
            f"TEXT={path} has {len(text):,} bytes, at least {SMALLEST_TEXT:,} are needed: put more "
            "text into one file"
        )
    border = text.rfind(b"\n", 0, len(text) - min(len(text) // 10, VALID_BYTES)) + 1
    if border < len(text) // 2:
        raise ValueError(f"TEXT={path} has too few lines to be split: break its lines")
    return text[:border], text[border:], what


def main(folder, text=None):
    folder = Path(folder)
    if text:
        train, valid, what = from_text(Path(text))
    else:
        train, valid, what = from_library(Path(sysconfig.get_path("stdlib")))
    (folder / "train.txt").write_bytes(train)
    (folder / "valid.txt").write_bytes(valid)
    (folder / "source.txt").write_text(what + "\n", encoding="utf-8")
    print(f"{what}: {len(train):,} bytes to train on, {len(valid):,} to validate on")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"corpus.py: {error}")
