"""How far one gets with pairs of bytes: the mark that every model has to pass.

    python bigram.py FOLDER

reads FOLDER/{train,valid}.txt, prints and writes FOLDER/bigram.json. In bits per byte:

    validation  H(x_t | x_t-1) of the validation text by its own counts: no bigram model, not even
                one that is fitted to this very text, spends less on it
    corpus      the same of the whole corpus, training and validation text in one
    model       what a bigram model counted on the training text spends on the validation text

The mark is the lower one of the first two; an honest bigram model, the third, does not reach it.
"""

import json
import math
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

NUM_TYPES = 256
SMOOTHING = 3  # how many bytes, drawn from the unigrams, are added to what follows each byte


def entropy(text):
    """H(x_t | x_t-1) of `text` (bytes), bits per byte; a newline stands before its first byte."""
    pairs, contexts = Counter(pairwise(b"\n" + text)), Counter(b"\n" + text[:-1])
    return sum(n * math.log2(contexts[a] / n) for (a, _), n in pairs.items()) / len(text)


def cross_entropy(train, valid):
    """Bits per byte of `valid` under the smoothed bigram counts of `train`."""
    pairs, contexts, unigrams = Counter(pairwise(train)), Counter(train[:-1]), Counter(train)

    def probability(a, b):
        unigram = (unigrams[b] + 1) / (len(train) + NUM_TYPES)
        return (pairs[a, b] + SMOOTHING * unigram) / (contexts[a] + SMOOTHING)

    found = Counter(pairwise(b"\n" + valid))
    return -sum(n * math.log2(probability(a, b)) for (a, b), n in found.items()) / len(valid)


def main(folder):
    folder = Path(folder)
    train, valid = ((folder / f"{split}.txt").read_bytes() for split in ("train", "valid"))
    bits = {
        "validation": entropy(valid),
        "corpus": entropy(train + valid),
        "model": cross_entropy(train, valid),
    }
    bits["mark"] = min(bits["validation"], bits["corpus"])
    (folder / "bigram.json").write_text(json.dumps(bits) + "\n")
    listed = ", ".join(f"{name} {value:.3f}" for name, value in bits.items())
    print(f"bigrams, bits per byte: {listed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
