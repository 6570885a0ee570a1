"""A tokenizer.json: byte-level BPE of a text, a digit a token.

python vocabulary.py TEXT TYPES OUTPUT
"""

import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def byte_level_bpe(texts, types):
    """The tokenizer of so many types, all 256 bytes among them, learned from an iterable of str."""
    made = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    made.decoder = decoders.ByteLevel()
    alphabet = byte_level.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=types, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def main(text, types, output):
    lines = Path(text).read_text("utf-8", "replace").splitlines(keepends=True)
    byte_level_bpe(lines, int(types)).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
