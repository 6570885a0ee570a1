"""WikiText, from source to data-bin: fetched, verified against what was published, binarized."""

import shutil
import time
from pathlib import Path

from nopos_plugin.prepare import binarize, manifest, wikitext_texts
from nopos_plugin.prepare.disk import workspace, writing
from nopos_plugin.prepare.wikitext_counts import verified
from nopos_plugin.prepare.wikitext_published import RELEASES, SPLITS


def prepare(release, destination, sources, from_dir, cache, workers):
    """Make the data-bin of `release` at `destination`; of a raw one, the folder of its texts.

    sources: zip archives or places of parquet files that are tried before the published ones.
    from_dir: a folder with the texts, instead of all those, or None. cache: where downloads are
    kept. workers: processes of fairseq-preprocess. What is done is printed. Nothing is done if it
    is there already. Raises ValueError if something else is, if no source can be used, if a text is
    not the published one; OSError if something cannot be written.
    """
    began, destination = time.monotonic(), Path(destination)
    there = existing(release, destination)
    if there and not (sources or from_dir):
        print(f"{destination} is there already, and whole")
        return
    with workspace(destination) as work:
        texts, files = (
            wikitext_texts.from_folder(release, from_dir)
            if from_dir
            else wikitext_texts.from_sources(release, sources, cache, work)
        )
        splits = {split: counted(release, split, texts[split]) for split in SPLITS}
        if there and there != splits:
            raise ValueError(
                f"{destination} is made of other texts; remove it, or name another --dest"
            )
        if there:
            print(f"{destination} is there already, whole, of the same texts")
            return
        make = folder_of_texts if release.endswith("-raw") else data_bin
        with writing(destination):
            make(release, texts, files, splits, workers, Path(work, "made")).rename(destination)
    print(f"{destination} is ready ({time.monotonic() - began:.0f} s)")


def existing(release, destination):
    """`splits` of what is at `destination`; None if nothing is. Raises ValueError otherwise."""
    if not destination.exists() or destination.is_dir() and not any(destination.iterdir()):
        return None
    try:
        if release.endswith("-raw"):
            return {
                split: verified(
                    release,
                    split,
                    Path(destination, wikitext_texts.name(release, split)),
                    RELEASES[release].texts[split],
                )
                for split in SPLITS
            }
        made = manifest.read(destination)
        found = [] if made["made_by"] == command(release) else [f"made by {made['made_by']}"]
        found += manifest.differences(destination)
        if found:
            raise ValueError("; ".join(found))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{destination} is there, but is not a whole {release}: {error}. "
            "Remove it, or name another --dest"
        ) from error
    return made["splits"]


def counted(release, split, text):
    found = verified(release, split, text, RELEASES[release].texts[split])
    print(
        f"{release} {split}: {found['documents']:,} articles, {found['lines']:,} lines, "
        f"{found['tokens']:,} tokens",
        flush=True,
    )
    return found


def folder_of_texts(release, texts, files, splits, workers, made):
    made.mkdir()
    for split, text in texts.items():
        take = shutil.move if made.parent in text.parents else shutil.copyfile
        take(text, Path(made, wikitext_texts.name(release, split)))
    return made


def data_bin(release, texts, files, splits, workers, made):
    print(f"fairseq-preprocess --workers {workers} ...", flush=True)
    binarize.binarize(texts, made, workers)
    for split, found in splits.items():
        binarize.check(made, split, found["lines"], found["tokens"])
    manifest.write(
        made,
        made_by=command(release),
        options={"release": release},
        sources=files,
        tokenizer={"name": "words"},
        separators=[*(["."] if "." in binarize.symbols(made) else []), "</s>"],
        splits=splits,
    )
    return made


def command(release):
    """That makes it."""
    return f"nopos-prepare-{release.removesuffix('-raw').replace('-', '')}"
