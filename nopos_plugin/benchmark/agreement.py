"""Whether nopos-prepare-pile and the classic route made the same tokens of the same documents.

Compared are whole documents, as often as they come, in any order, since ours are shuffled. The
classic route cuts a document at its newlines and puts `</s>` after each line, so a document of ours
is compared with a `</s>` in place of each newline: a symbol of several newlines (`\\n\\n` is one of
GPT-2's) becomes as many, and one with something behind the newline (`\\n\\xa0`) both.
"""

import json
from collections import Counter
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from fairseq.data.indexed_dataset import MMapIndexedDataset

NEWLINE = bytes_to_unicode()[ord("\n")]


class Cut(NamedTuple):
    """What each index becomes: counts[i] of `flat`, from starts[i] on."""

    flat: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def lines(self, document):
        """`document` (tokens,) with `</s>` in place of newlines."""
        counts = self.counts[document]
        ends = np.cumsum(counts)
        places = np.repeat(self.starts[document] - (ends - counts), counts)
        return self.flat[places + np.arange(len(places))]


def cut(encoder_json, dictionary):
    """The Cut of a vocabulary: the files encoder.json and dict.txt."""
    with open(encoder_json, encoding="utf-8") as file:
        encoder = json.load(file)
    names = Dictionary.load(str(dictionary))
    parts = [[index] for index in range(len(names))]
    for piece, symbol in encoder.items():
        if NEWLINE in piece:
            between = [encoder.get(part) if part else None for part in piece.split(NEWLINE)]
            lines = [[] if one is None else [names.index(str(one))] for one in between]
            joined = [index for line in lines[1:] for index in (names.eos(), *line)]
            parts[names.index(str(symbol))] = [*lines[0], *joined]
    counts = np.array([len(part) for part in parts])
    flat = np.array([index for part in parts for index in part], dtype=np.int64)
    return Cut(flat, np.cumsum(counts) - counts, counts)


def classic_documents(prefix, lines):
    """Counter of the documents of the classic route; lines: of the file that counts their lines."""
    data = MMapIndexedDataset(str(prefix))
    ends = np.cumsum(np.loadtxt(lines, dtype=np.int64, ndmin=1))
    if ends[-1] != len(data):
        raise ValueError(f"the classic route made {len(data):,} lines of {ends[-1]:,}")
    bounds = np.concatenate([[0], np.cumsum(data.sizes, dtype=np.int64)[ends - 1]])
    tokens = np.fromfile(f"{prefix}.bin", dtype=data._index.dtype)
    spans = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    return Counter(digest(tokens[start:stop]) for start, stop in spans)


def our_documents(prefix, cut):
    """Counter of the documents of nopos-prepare-pile, cut into lines."""
    data = MMapIndexedDataset(str(prefix))
    return Counter(digest(cut.lines(data[i].numpy())) for i in range(len(data)))


def digest(tokens):
    return blake2b(tokens.astype(np.int32).tobytes(), digest_size=16).digest()


def difference(ours, classic, copies):
    """A sentence on how `copies` of the documents of `classic` differ from `ours`; None if not."""
    wanted = Counter({document: copies * number for document, number in classic.items()})
    if ours == wanted:
        return None
    return (
        f"of {wanted.total():,} documents of the classic route {(wanted - ours).total():,} are not "
        f"among the {ours.total():,} of nopos-prepare-pile, token for token"
    )
