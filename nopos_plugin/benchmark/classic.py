"""The classic route from lines of JSON to ids: run this file by its path, in a process.

`text` writes the lines of all documents, `encode` the ids of each line, by fairseq's own encoder,
as its example multiprocessing_bpe_encoder.py does; fairseq-preprocess is what follows. Nothing of
the plugin may be imported here.
"""

import argparse
import gzip
import io
import json
import sys
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path

del sys.path[0]  # this folder, whose files are not what others mean by their names

CHUNK = 100  # lines that a worker gets at a time


def write_text(options):
    """All documents, one after the other, into OUTPUT, and how many lines each has into LINES.

    As nopos-prepare-pile, it leaves out those of white space alone.
    """
    with (
        open(options.output, "w", encoding="utf-8", newline="\n") as output,
        open(options.lines, "w", encoding="utf-8") as lines,
    ):
        for source in options.sources:
            with opened(Path(source)) as file:
                for line in file:
                    text = json.loads(line)["text"]
                    if text.strip():
                        output.write(text + "\n")
                        lines.write(f"{text.count(chr(10)) + 1}\n")


@contextmanager
def opened(path):
    """The lines (bytes) of a file: .zst, .gz, or anything else as it is."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            yield file
        return
    with path.open("rb") as file:
        if path.suffix == ".zst":
            import zstandard

            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            yield io.BufferedReader(reader, 2**20)
        else:
            yield file


def encode(options):
    """The ids of each line of INPUT, a line of OUTPUT.

    # DIFFERS from multiprocessing_bpe_encoder.py: white space at the ends of a line is kept, and
    # only a newline ends one, for else the tokens would be others than those of the documents.
    """
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    vocabulary = options.encoder_json, options.vocab_bpe
    with (
        open(options.input, encoding="utf-8", newline="\n") as lines,
        open(options.output, "w", encoding="utf-8") as output,
        Pool(options.workers, remember, (get_encoder, *vocabulary)) as pool,
    ):
        for ids in pool.imap(encoded, lines, CHUNK):
            print(ids, file=output)


_encoder = None


def remember(make, *files):
    """Make `make(*files)` the encoder of this process."""
    global _encoder
    _encoder = make(*files)


def encoded(line):
    """The ids of a line, written out."""
    return " ".join(map(str, _encoder.encode(line.removesuffix("\n"))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    text = commands.add_parser("text")
    text.add_argument("sources", nargs="+")
    text.add_argument("--lines", required=True)
    text.add_argument("--output", required=True)
    text.set_defaults(work=write_text)
    ids = commands.add_parser("encode")
    ids.add_argument("input")
    ids.add_argument("--encoder-json", required=True)
    ids.add_argument("--vocab-bpe", required=True)
    ids.add_argument("--workers", type=int, required=True)
    ids.add_argument("--output", required=True)
    ids.set_defaults(work=encode)
    options = parser.parse_args()
    options.work(options)


if __name__ == "__main__":
    main()
