"""manifest.json beside a data-bin: where it comes from, what it holds, and what its files are.

made_by      the command
options      that decide what is in it, the seed among them
sources      [{"name", "bytes", "sha256"}] of the files that were read
tokenizer    {"name", ...}
separators   symbols that end a segment, for encodings that count segments (BiPE)
splits       {split: {"documents", "tokens", "words", "bytes", ...}}; a token is an entry of the
             data-bin, `</s>` among them, words and bytes are of the text
files        {name: {"bytes", "sha256"}} of the data-bin
"""

import json
import os
from pathlib import Path

from fairseq.data.indexed_dataset import MMapIndexedDataset

from nopos_plugin.provenance import digest

NAME = "manifest.json"


def write(folder, **fields):
    """Make the manifest of the data-bin in `folder`, and add what its files are."""
    files = sorted(p for p in Path(folder).iterdir() if p.suffix in (".bin", ".idx", ".txt"))
    fields["files"] = {path.name: described(path) for path in files}
    part = Path(folder, f"{NAME}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(fields, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(Path(folder, NAME))


def described(path):
    """Bytes and SHA-256 of the file at `path`."""
    return {"bytes": Path(path).stat().st_size, "sha256": digest(path)}


def read(folder):
    """The manifest in `folder`. Raises ValueError if there is none, or it is none of ours."""
    path = Path(folder, NAME)
    if not path.is_file():
        raise ValueError(f"{folder} has no {NAME}: name a data-bin that nopos-prepare-... made")
    try:
        fields = json.loads(path.read_text("utf-8"))
        usable = isinstance(fields["files"], dict) and isinstance(fields["splits"], dict)
        usable = usable and bool(fields["files"])
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise ValueError(f"{path} is no manifest of nopos-prepare-...")
    return fields


def differences(folder):
    """Sentences about what in `folder` is not as its manifest says; none if all is well."""
    fields = read(folder)
    wrong = set()
    for name, expected in fields["files"].items():
        for said in difference(Path(folder, name), expected):
            wrong.add(name)
            yield said
    for split, counts in fields["splits"].items():
        if wrong & {f"{split}.bin", f"{split}.idx"}:
            continue
        if not MMapIndexedDataset.exists(str(Path(folder, split))):
            yield f"the split {split} is missing"
        elif (found := held(folder, split)[1]) != counts["tokens"]:
            yield f"{split} has {found:,} tokens, not {counts['tokens']:,}"


def difference(path, expected):
    """A sentence if the file at `path` is not as `expected`, an entry of `files`."""
    if not path.is_file():
        yield f"{path.name} is missing"
    elif (found := path.stat().st_size) != expected["bytes"]:
        yield f"{path.name} has {found:,} bytes, not {expected['bytes']:,}"
    elif digest(path) != expected["sha256"]:
        yield f"{path.name} has other content than when it was made"


def held(folder, split):
    """(items, tokens) of a split of the data-bin in `folder`."""
    items = MMapIndexedDataset(str(Path(folder, split)))
    # `items` must outlive its sizes: they are a view of a file that it unmaps when it goes
    return len(items), int(items.sizes.sum())
