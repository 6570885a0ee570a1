"""One result of nopos-passkey: a checkpoint, and prompts of a length."""

import random
import sys
import time

from tqdm import tqdm

from nopos_plugin.evaluation.decoding import greedy
from nopos_plugin.evaluation.passkey import (
    FILLER,
    NEW_TOKENS,
    QUESTION,
    TASK,
    Prompt,
    by_depth,
    drawn,
    exact,
    published,
    right,
    spaced,
    unspaced,
)
from nopos_plugin.provenance import provenance

TOKENS = {"cpu": 4096, "cuda": 32768}  # of a batch, unless one prompt has more


class Retrieval:
    """The prompts of the `options` of nopos-passkey, as `coder` spells them, for a `subject`.

    Raises ValueError if a number does not survive the tokenizer, or words of the prompt do not.
    """

    def __init__(self, subject, coder, options):
        self.subject, self.coder, self.options = subject, coder, options
        # a number is no word of an open vocabulary, its digits are
        self.spaced = coder.tokenizer.symbols is None
        self.opener = subject.opener()
        if getattr(subject.task.args, "add_bos_token", False):
            self.opener = subject.task.source_dictionary.bos()
        self.check("12345", "67890")
        unknown = self.encode(f"{TASK} {FILLER} {QUESTION}").count(coder.dictionary.unk())
        if unknown:
            raise ValueError(
                f"{unknown} tokens of the prompt are not in the dictionary of {subject.path}: a "
                "model that cannot read the question is not asked"
            )

    def check(self, *numbers):
        for number in numbers:
            back = self.decode(self.encode(f"{number}."))
            if not right(back, int(number)):
                name = self.coder.tokenizer.name
                raise ValueError(
                    f"--tokenizer {name} does not give numbers back, so no answer could be right: "
                    f"{number} comes back as {back!r}"
                )

    def encode(self, text):
        return self.coder.encode(spaced(text) if self.spaced else text)

    def decode(self, tokens):
        text = self.coder.decode(tokens)
        return unspaced(text) if self.spaced else text

    def trials(self, length):
        """[Prompt]. Raises ValueError for a length that cannot be."""
        made = [self.prompt(length, number) for number in range(self.options.trials)]
        longest = max(len(one.tokens) for one in made) + NEW_TOKENS
        most = self.subject.ceiling()
        if most is not None and longest > most:
            raise ValueError(
                f"--lengths {length}: prompt and answer have {longest} tokens, and "
                f"{self.subject.path} has learned positions for {most} only; ask for less, by "
                "--exact-length if need be"
            )
        return made

    def prompt(self, length, number):
        draw = random.Random(f"{self.options.seed} {length} {number}")
        if not self.options.exact_length:
            one = drawn(published(length), draw)
            return Prompt(one.key, one.depth, [self.opener, *self.encode(one.text())])
        try:
            one = exact(length - 1 - NEW_TOKENS, self.encode, draw)
        except ValueError as error:
            least = f"the prompt is opened by one token and answered by {NEW_TOKENS}"
            raise ValueError(f"--lengths {length}: {least}, and {error}") from None
        return one._replace(tokens=[self.opener, *one.tokens])

    def described(self, length):
        """What a result says of the prompts."""
        options = self.options
        return {
            "tokenizer": self.coder.tokenizer.described(),
            "length_tokens": length,
            "exact_length": options.exact_length,
            "trials": options.trials,
            "seed": options.seed,
        }

    def measured(self, trials):
        """What it says of the answers to `trials`, and of how they were made."""
        start = time.monotonic()
        answers = [self.decode(tokens) for tokens in self.decoded([one.tokens for one in trials])]
        seconds = time.monotonic() - start
        hits = [right(answer, one.key) for answer, one in zip(answers, trials, strict=True)]
        sizes = [len(one.tokens) for one in trials]
        return {
            "prompt_tokens": {"least": min(sizes), "most": max(sizes)},
            "correct": sum(hits),
            "accuracy": sum(hits) / len(hits),
            "by_depth": by_depth([one.depth for one in trials], hits),
            "answers": [
                {"key": one.key, "depth": round(one.depth, 4), "answer": answer}
                for one, answer in zip(trials, answers, strict=True)
            ],
            "seconds": round(seconds, 3),
            **provenance(self.options.device),
        }

    def decoded(self, prompts):
        """The tokens that follow each, longer prompts first, those of a batch alike in length."""
        dictionary = self.subject.task.source_dictionary
        order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
        found = {}
        most = self.options.max_tokens or TOKENS[self.options.device]
        with tqdm(
            total=len(prompts),
            desc=f"passkey, {len(prompts[order[0]])} tokens",
            unit=" prompts",
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        ) as bar:
            while order:
                rows = max(1, most // (len(prompts[order[0]]) + NEW_TOKENS))
                batch, order = order[:rows], order[rows:]
                answers = greedy(
                    self.subject.model,
                    [prompts[number] for number in batch],
                    NEW_TOKENS,
                    dictionary.eos(),
                    dictionary.pad(),
                )
                found.update(zip(batch, answers, strict=True))
                bar.update(len(batch))
        return [found[number] for number in range(len(prompts))]
