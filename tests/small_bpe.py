"""A small byte-level BPE in the files that GPT-2's came in."""

import json
import random

import tokenizers
from tokenizers import models, pre_tokenizers, trainers


def make(folder, texts, size):
    """Train one of `size` pieces; encoder.json, vocab.bpe and dict.txt in `folder`, ids and lines
    shuffled, a madeupword at the end. Returns the tokenizers.Tokenizer."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    model = json.loads(made.to_str())["model"]
    ids = random.Random(1).sample(range(len(model["vocab"])), len(model["vocab"]))
    encoder = {piece: ids[i] for piece, i in model["vocab"].items()}
    (folder / "encoder.json").write_text(json.dumps(encoder))
    merges = [" ".join(merge) for merge in model["merges"]]
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    lines = [*random.Random(2).sample(sorted(ids), len(ids)), "madeupword0000"]
    (folder / "dict.txt").write_text("".join(f"{line} 7\n" for line in lines))
    return made
