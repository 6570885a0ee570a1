"""manifest.json beside a data-bin: where it comes from, what it holds, and what its files are.

made_by      the command
options      that decide what is in it, the seed among them
sources      [{"name", "bytes", "sha256", ...}] of the files that were read; "from", where known, is
             the URL or path
tokenizer    {"name", ...}
separators   symbols that end a segment, for encodings that count segments (BiPE)
splits       {split: {"documents", "tokens", "words", "bytes", ...}}; a token is an entry of the
             data-bin, `</s>` among them, words and bytes are of the text
problem      what nopos-make-task asks: {"task", "variant", "scratchpad", "train_lengths", ...}
files        {name: {"bytes", "sha256"}} of the data-bin
"""

import json
import os
from pathlib import Path

from fairseq.data.indexed_dataset import MMapIndexedDataset

from nopos_plugin.provenance import digest

NAME = "manifest.json"
COUNTS = ("documents", "tokens", "words", "bytes")
DATA = (".bin", ".idx")


def write(folder, **fields):
    """Make the manifest of the data-bin in `folder`, and add what its files are."""
    files = sorted(p for p in Path(folder).iterdir() if p.suffix in (*DATA, ".txt", ".jsonl"))
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
        usable = bool(fields["files"]) and well_formed(fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise ValueError(f"{path} is no manifest of nopos-prepare-...")
    return fields


def well_formed(fields):
    """Whether what is read of a manifest is of the right types; or the error that this leads to."""
    files = [*fields["files"].values(), *fields.get("sources", [])]
    splits = list(fields["splits"].values())
    counts = splits + [one for its in splits for one in its.get("components", {}).values()]
    return (
        all(isinstance(fields.get(name, {}), dict) for name in ("options", "tokenizer"))
        and all(isinstance(one["sha256"], str) for one in files)
        and all(isinstance(one["bytes"], int) for one in files)
        and all(isinstance(one["name"], str) for one in fields.get("sources", []))
        and all(isinstance(one[name], int) for one in counts for name in COUNTS)
    )


def differences(folder):
    """Sentences about what in `folder` is not as its manifest says; none if all is well.

    Words and bytes of the text cannot be counted again: of them it is known at most that those of
    the components add up.
    """
    fields = read(folder)
    files, splits = fields["files"], fields["splits"]
    wrong = {path.name for path in Path(folder).iterdir() if path.suffix in DATA} - set(files)
    yield from (f"{name} is not among the files of {NAME}" for name in sorted(wrong))
    of_files = {Path(name).stem for name in files if Path(name).suffix in DATA}
    for split in sorted(of_files - set(splits)):
        yield f"{split} is not among the splits of {NAME}"
    for name, expected in files.items():
        for said in difference(Path(folder, name), expected):
            wrong.add(name)
            yield said
    for split, counts in splits.items():
        yield from sums(split, counts)
        if wrong & {f"{split}{suffix}" for suffix in DATA}:
            continue
        if not MMapIndexedDataset.exists(str(Path(folder, split))):
            yield f"the split {split} is missing"
            continue
        item = "lines" if "lines" in counts else "documents"
        for name, found in zip((item, "tokens"), held(folder, split), strict=True):
            if found != counts[name]:
                yield f"{split} has {found:,} {name}, not {counts[name]:,}"


def sums(split, counts):
    """Sentences if the components of a split do not add up to it; some documents have none."""
    each = counts.get("components", {}).values()
    added = {name: sum(one[name] for one in each) for name in COUNTS}
    others = counts["documents"] > added["documents"]
    for name in COUNTS if each else ():
        if added[name] > counts[name] or added[name] < counts[name] and not others:
            yield f"the components of {split} have {added[name]:,} {name}, not {counts[name]:,}"


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
