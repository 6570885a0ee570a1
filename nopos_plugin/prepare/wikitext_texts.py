"""The texts of a WikiText release, byte for byte: of its zip, of parquet files, of a folder."""

import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow
from pyarrow import parquet

from nopos_plugin.prepare import manifest, wikitext_published
from nopos_plugin.prepare.disk import writing
from nopos_plugin.prepare.download import fetch_from, first, forget, origin
from nopos_plugin.prepare.wikitext_published import SPLITS
from nopos_plugin.provenance import digest

BLANK_LINE = " \n"  # of every WikiText file; the parquet files have "" for it


def from_sources(release, sources, cache, folder):
    """({split: path}, files that were read) of the first of `sources` and the published ones.

    release: one of RELEASES. sources: a zip archive (its path ends so), else where the parquet
    files are. The texts are made in `folder`. Raises ValueError with a line a source if none has
    them.
    """
    ours = [f"{wikitext_published.ZIPS}/{release}-v1.zip"]
    ours += [f"{wikitext_published.PARQUETS}/{release}-v1"]
    return first([*sources, *ours], lambda source: _extract(release, source, cache, folder))


def from_folder(release, folder):
    """({split: path}, files that are read) of the texts in `folder`, as published or SPLIT.txt."""
    texts = {}
    for split in SPLITS:
        names = (name(release, split), f"{split}.txt")
        found = [Path(folder, one) for one in names if Path(folder, one).is_file()]
        if not found:
            raise ValueError(f"--from-dir {folder}: there is no {' or '.join(names)}")
        texts[split] = found[0]
    return texts, described(texts.values())


def name(release, split):
    """Of the text of `split`, as published."""
    return f"wiki.{split}.{'raw' if release.endswith('-raw') else 'tokens'}"


def described(paths):
    """`sources` of a manifest: "from" is where a file was fetched, or its path."""
    return [
        {"name": path.name, "from": origin(path) or str(path), **manifest.described(path)}
        for path in paths
    ]


def is_archive(source):
    path = urlsplit(source).path if "://" in source else source
    return path.lower().endswith(".zip")


def _extract(release, source, cache, folder):
    texts = {split: Path(folder, name(release, split)) for split in SPLITS}
    published = wikitext_published.RELEASES[release]
    if is_archive(source):
        files = [fetch_from(source, Path(cache, f"{release}-v1.zip"), published.zip)]
        _unzip(files[0], {f"{release}/{path.name}": path for path in texts.values()})
        return texts, described(files)
    files = []
    for split, text in texts.items():
        of_split = []
        for number, sha256 in enumerate(published.parquet[split]):
            called = "validation" if split == "valid" else split
            called += f"-{number:05}-of-{len(published.parquet[split]):05}.parquet"
            path = Path(cache, f"{release}-v1", called)
            of_split.append(fetch_from(f"{source}/{called}", path, sha256))
        _join(of_split, text, published.texts[split].sha256)
        files += of_split
    return texts, described(files)


def _unzip(archive, wanted):
    """Write the members of `archive` that `wanted` names to its paths; others are refused."""
    try:
        with zipfile.ZipFile(archive) as opened:
            there = {one.filename for one in opened.infolist() if not one.is_dir()}
            if there != set(wanted):
                raise ValueError(f"{archive} holds {sorted(there)}, expected {sorted(wanted)}")
            for member, path in wanted.items():
                with writing(path), opened.open(member) as source, path.open("wb") as text:
                    shutil.copyfileobj(source, text, 2**20)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is damaged: {error}") from error


def _join(files, text, sha256):
    """Write the lines of parquet `files` to `text`, whose hash is `sha256`, if not None.

    Raises ValueError if they are something else, and removes them, so that they are fetched anew.
    """
    try:
        with writing(text), text.open("w", encoding="utf-8", newline="\n") as joined:
            for file in files:
                joined.writelines(_lines(file))
        if sha256 not in (None, found := digest(text)):
            names = ", ".join(file.name for file in files)
            raise ValueError(f"the text of {names} has the sha256 {found}, not {sha256}")
    except ValueError:
        for file in files:
            forget(file)
        raise


def _lines(file):
    """The rows of the column `text` of a parquet file, a part of it in memory at a time."""
    try:
        # with what pyarrow does by default, all that a row group holds is in memory at once
        opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
        for batch in opened.iter_batches(2**14, columns=["text"], use_threads=False):
            for row in batch.column("text").to_pylist():
                if row and not row.endswith("\n"):
                    raise ValueError(f"a row is no line, {row[:40]!r}")
                yield row or BLANK_LINE
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{file.name} is no parquet file of lines: {error}") from error
