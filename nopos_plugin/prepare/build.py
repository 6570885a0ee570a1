"""Sources to a data-bin: all there at the end, or nothing, and what was done is kept."""

import copy
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from nopos_plugin.prepare import assemble, indexed, manifest
from nopos_plugin.prepare.batch import Recipe
from nopos_plugin.prepare.disk import empty, locked, writing
from nopos_plugin.prepare.records import BUCKETS
from nopos_plugin.prepare.spooling import Spooler
from nopos_plugin.prepare.vocabulary import check as check_vocabulary
from nopos_plugin.prepare.vocabulary import vocabulary

RECIPE = "recipe.json"
BAR = {"mininterval": 0.5 if sys.stderr.isatty() else 30}


def build(
    folder, sources, recipe, wanted, *, made_by, options, num_workers, max_invalid, required=()
):
    """Make `folder` the data-bin of `sources`, a list of spooling.Source.

    recipe: a batch.Recipe; its dtype is set here. wanted: choose.Wanted. made_by, options: for the
    manifest. required: components that the sources must have. The work is done in FOLDER.work,
    which stays after a failure, so that another call goes on; what is unfinished there is made
    anew, and so is all if the recipe is another.
    Returns the manifest. Raises ValueError for sources, or a `folder`, that cannot be used.
    """
    folder, work = Path(folder), Path(f"{folder}.work")
    symbols = recipe.tokenizer.symbols
    if symbols is not None:
        recipe = recipe._replace(dtype=indexed.dtype(4 + len(symbols)))
    check_vocabulary(recipe.tokenizer, wanted)
    with locked(work, folder):
        if folder.exists():
            leave(work)
            raise ValueError(f"{folder} is there already: name another --dest, or move it away")
        begin(work, described(recipe))
        known = spool_all(work, sources, recipe, num_workers, max_invalid)
        check_components(known, required, len(recipe.wanted) < len(recipe.components))
        made = work / "data-bin"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        documents = sum(one["counts"].get("documents", 0) for one in known)
        with writing(made):
            dictionary, splits = write(made, work, sources, recipe, wanted, documents)
        kept = ("name", "from", "split", "bytes", "sha256", "counts")
        for path in recipe.tokenizer.taken_along():
            shutil.copy(path, made)
        manifest.write(
            made,
            made_by=made_by,
            options=options,
            sources=[{key: one[key] for key in kept} for one in known],
            tokenizer=recipe.tokenizer.described(),
            separators=[s for s in recipe.tokenizer.separators if s in dictionary.indices],
            splits=splits,
        )
        made.rename(folder)
        shutil.rmtree(work)
    return manifest.read(folder)


def write(made, work, sources, recipe, wanted, documents):
    """Fill the folder `made` from the spools in `work`, which have so many documents; the
    dictionary, and what splits have."""
    spools = [spool_folder(work, number) for number in range(len(sources))]
    given = [source.split for source in sources]
    chosen = assemble.choice(spools, given, wanted)

    def ranges(doing="counting words"):
        every = assemble.ranges(spools, given, copy.copy(chosen), recipe.seed is not None)
        with tqdm(total=documents, desc=doing, unit=" documents", **BAR) as bar:
            for meta, splits, taken in every:
                yield meta, splits, taken
                bar.update(len(meta))

    dictionary, coded = vocabulary(recipe.tokenizer, ranges, wanted.threshold, wanted.nwords)
    dictionary.save(str(made / "dict.txt"))
    dtype = indexed.dtype(len(dictionary))
    splits = assemble.write(made, ranges("writing"), dtype, recipe.components, coded)
    if "train" not in splits:
        raise ValueError("no document is left to train on: see the options that leave some out")
    return dictionary, splits


def described(recipe: Recipe):
    """What decides what is in a spool."""
    return {
        "tokenizer": recipe.tokenizer.described(),
        "format": repr(recipe.format),
        "components": sorted(recipe.wanted),
        "seed": recipe.seed,
        "ranges": BUCKETS,
    }


def begin(work, recipe):
    """Empty the folder `work` if what is in it is of another recipe."""
    path = work / RECIPE
    if any(work.iterdir()) and not path.exists():
        raise ValueError(f"{work} holds something else: move it away, or name another --dest")
    if not path.exists() or path.read_text() != json.dumps(recipe):
        empty(work)
        path.write_text(json.dumps(recipe))


def leave(work):
    """Remove the folder `work` if nothing is in it, or what a finished data-bin left."""
    if not any(work.iterdir()) or (work / RECIPE).exists() and not (work / "data-bin").exists():
        shutil.rmtree(work)


def check_components(known, required, some):
    """Raises ValueError for a component that no source has a document of; and, if `some` were
    chosen by name, for documents that name none of the known ones."""
    counts = sum((Counter(one["counts"]) for one in known), Counter())
    strangers = {name[6:]: n for name, n in counts.items() if name.startswith("named ")}
    if some and strangers:
        said = ", ".join(f"{name!r} ({n:,} documents)" for name, n in strangers.items())
        raise ValueError(
            f"components are chosen, but these names in the sources are none of the Pile's: {said}"
        )
    seen = {name[3:] for name in counts if name.startswith("of ")}
    for name in required:
        if name not in seen:
            its = ", ".join(sorted(seen)) or "no components at all"
            raise ValueError(f"no document is of {name}; the sources have {its}")


def spool_folder(work, number):
    return work / f"{number:04}"


def spool_all(work, sources, recipe, num_workers, max_invalid):
    """What is known of each source; `work` has its spool then. Progress goes to stderr."""
    tokens = documents = 0
    start = time.monotonic()
    total = sum(source.path.stat().st_size for source in sources)
    bar = tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        desc="tokenizing",
        **BAR,
    )

    def shown(batch, size):
        nonlocal tokens, documents
        tokens, documents = tokens + batch.tokens, documents + batch.documents
        seconds = time.monotonic() - start
        rates = f"{documents / seconds:,.0f} documents/s, {tokens / seconds:,.0f} tokens/s"
        bar.set_postfix_str(rates, refresh=False)
        bar.update(size)

    known = []
    with bar, Spooler(recipe, num_workers, max_invalid, shown) as spooler:
        for number, source in enumerate(sources):
            before = bar.n
            known.append(spooler.spooled(source, spool_folder(work, number)))
            earlier = before + known[-1]["bytes"] - bar.n
            # finished by an earlier run: no sign of how fast this one is
            bar.n, bar.initial = bar.n + earlier, bar.initial + earlier
            bar.last_print_n += earlier
    return known
