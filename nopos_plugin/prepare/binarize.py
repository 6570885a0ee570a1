"""fairseq-preprocess: from texts, a sentence a line, to a data-bin of words."""

import subprocess
import sys
from pathlib import Path

from nopos_plugin.prepare import manifest


def binarize(texts, folder, workers):
    """Make the data-bin of `texts`, {split: path}, in `folder`, which is new.

    workers: processes; what comes out does not depend on them. Raises ValueError with the end of
    its output if fairseq-preprocess fails.
    """
    named = [item for split in texts for item in (f"--{split}pref", str(texts[split]))]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fairseq_cli.preprocess", "--only-source", *named),
            *("--destdir", str(folder), "--workers", str(workers)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        end = "\n  ".join(done.stdout.decode("utf-8", "replace").splitlines()[-15:])
        raise ValueError(f"fairseq-preprocess failed with status {done.returncode}:\n  {end}")
    # fairseq's own log, which names the folders that are renamed when all is done
    Path(folder, "preprocess.log").unlink(missing_ok=True)


def check(folder, split, lines, tokens):
    """Raises ValueError if the data-bin's `split` has other numbers of items and tokens."""
    found = manifest.held(folder, split)
    if found != (lines, tokens):
        raise ValueError(
            f"fairseq-preprocess made {found[0]:,} items and {found[1]:,} tokens of {split}, "
            f"expected {lines:,} and {tokens:,}"
        )


def symbols(folder):
    """Of the dictionary, fairseq's own four aside."""
    lines = Path(folder, "dict.txt").read_text("utf-8").split("\n")
    return {line.rpartition(" ")[0] for line in lines}
