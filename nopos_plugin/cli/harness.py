"""A checkpoint as lm-evaluation-harness (`lm_eval`) asks models: log-probabilities and answers.

A prefix opens every text: contexts, prompts, and what is scored without a context. Our models were
trained on streams in which the `</s>` of one document opens the next; LLaMA's on documents that
`<s>` opens. The harness' adapter for Hugging Face leaves it to the tokenizer: LLaMA's puts `<s>`
before a text, GPT-2's and GPT-NeoX's put nothing (--bare-contexts), and where there is no context
it is the tokenizer's bos, or else its eos. So with --prefix bos, numbers are that adapter's for
LLaMA. As there, what is too long is cut from the left, prefix and all.
"""

import math
import sys
from typing import NamedTuple

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from nopos_plugin.cli.retrieve import TOKENS
from nopos_plugin.data.collate import collate
from nopos_plugin.evaluation.decoding import greedy
from nopos_plugin.evaluation.losses import on
from nopos_plugin.evaluation.scorer import LOGITS, last_features, target_nats

NEW_TOKENS = 256  # of an answer, unless its task says how many
STEP = 32  # of them that are decoded before it is looked which answers have ended
# What greedy decoding obeys, or may ignore, of a task's generation_kwargs.
GREEDY = {"until", "max_gen_toks", "do_sample", "num_beams", "temperature", "top_p", "top_k"}


class Question(NamedTuple):
    """A prompt, indices; how many tokens the answer has at most; the strings that end it."""

    prompt: list[int]
    count: int
    until: list[str]


class Harness(TemplateLM):
    """`subject`, a Checkpoint, with texts as `coder` spells them, by `options` of nopos-lm-eval.

    Raises ValueError for a prefix that the model does not have, and a length beyond its positions.
    """

    def __init__(self, subject, coder, options):
        super().__init__()
        self.model, self.dictionary = subject.model, subject.task.source_dictionary
        self.coder, self.options = coder, options
        self.prefix = prefix(subject, options.prefix)
        self.max_length = max_length(subject, options.max_length)
        self.tokens = self.unknown = 0  # of all texts so far

    def get_model_info(self):
        """What the harness adds to the `config` of its results."""
        return {
            "tokenizer": self.coder.tokenizer.described(),
            "prefix": self.dictionary[self.prefix],
            "bare_contexts": self.options.bare_contexts,
            "max_length": self.max_length,
            "unknown_share": self.unknown / max(1, self.tokens),
        }

    @property
    def eot_token_id(self):
        return self.dictionary.eos()

    @property
    def prefix_token_id(self):
        return self.prefix

    def tok_encode(self, string, add_special_tokens=None, **unused):
        """Indices of `string`, opened unless `add_special_tokens` is False: then it is scored."""
        found = self.encode(string)
        if add_special_tokens is not False:
            return found if self.options.bare_contexts else [self.prefix, *found]
        if not found:
            raise ValueError(f"a task asks how likely {string!r} is, which is no token")
        return found

    def encode(self, text):
        found = self.coder.encode(text)
        self.tokens += len(found)
        self.unknown += found.count(self.dictionary.unk())
        return found

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        """[log-probability] of whole texts, in windows of `max_length` targets without overlap.

        The last window has as many tokens before its targets as go in, where that of nopos-evaluate
        has one; its targets are scored as the --last-tokens of a block as long as the text.
        """
        # DIFFERS from EleutherAI/lm-evaluation-harness@v0.4.13 lm_eval/models/huggingface.py:1251:
        # the `<s>` of LLaMA's tokenizer is the prefix, and no target after another `<s>`.
        windows, texts = [], []
        for number, request in enumerate(requests):
            tokens = self.encode(*request.args)
            rolling = get_rolling_token_windows(tokens, self.prefix, self.max_length, 1)
            windows += map(make_disjoint_window, rolling)
            texts += [number] * (len(windows) - len(texts))
        totals = [0.0] * len(requests)
        for number, (total, _) in zip(texts, self.scored(windows, judged=False), strict=True):
            totals[number] += total
        return totals

    def _loglikelihood_tokens(self, requests, disable_tqdm=False, **unused):
        for (_, text), _, tokens in requests:
            if not tokens:
                raise ValueError(f"a task asks how likely {text!r} is, which is no token")
            if len(tokens) > self.max_length:
                raise ValueError(
                    f"--max-length {self.max_length}: a task asks how likely {len(tokens)} tokens "
                    "are; name a larger one, if the model goes so far"
                )
        return self.scored([(before or [self.prefix], tokens) for _, before, tokens in requests])

    def scored(self, pairs, judged=True):
        """[(log-probability, is it what greedy decoding gives)] of targets after a context.

        pairs: [(context, targets)], lists of indices, none of them empty. judged: or leave that at
        False, which saves the time of an output layer.
        Raises ValueError for a log-probability that is infinite or no number.
        """
        found = {}
        lines = [(context + targets)[-self.max_length - 1 :] for context, targets in pairs]
        for batch in self.batches([len(line) - 1 for line in lines], "texts"):
            samples = [self.sample(n, lines[n], len(pairs[n][1])) for n in batch]
            for number, one in zip(batch, self.batch_scored(samples, judged), strict=True):
                if not math.isfinite(one[0]):
                    text = self.coder.decode(pairs[number][1])
                    raise ValueError(f"the log-probability of {text!r} is {one[0]:g}: no result")
                found[number] = one
        return [found[number] for number in range(len(pairs))]

    def sample(self, number, line, count):
        """For `collate`: the last `count` of the tokens `line` are targets."""
        line = torch.tensor(line)
        target = line[1:].clone()
        target[: len(target) - count] = self.dictionary.pad()
        return {"id": number, "source": line[:-1], "target": target}

    @torch.inference_mode()
    def batch_scored(self, samples, judged):
        """`scored` of one forward, with pads behind what is shorter than the longest."""
        sample = on(collate(samples, self.dictionary.pad()), self.options.device)
        target = sample["target"]  # (B, T)
        scored = target != self.dictionary.pad()
        first = int(scored.any(0).int().argmax())
        features = last_features(self.model, sample["net_input"], target.size(1) - first)
        features, target = features[scored[:, first:]], target[scored]  # (N, C), (N,)
        nats = target_nats(self.model.decoder, features, target).double()
        hits = torch.zeros_like(target, dtype=torch.bool)
        if judged:
            hits = most_likely(self.model, features, self.dictionary) == target
        counts = scored.sum(1).tolist()
        rows = zip(nats.split(counts), hits.split(counts), strict=True)
        return [(-row.sum().item(), bool(hit.all())) for row, hit in rows]

    def generate_until(self, requests, disable_tqdm=False):
        """[answer], greedy, each up to `</s>` or the first of the strings that end it."""
        asked = [self.question(*request.args) for request in requests]
        found = {}
        for batch in self.batches([len(one.prompt) + one.count for one in asked], "answers"):
            found.update(zip(batch, self.answers([asked[n] for n in batch]), strict=True))
        return [found[number] for number in range(len(asked))]

    def question(self, context, given):
        """The Question of a request. Raises ValueError if `given`, its generation_kwargs, are not
        those of greedy decoding, or leave no room for the prompt."""
        kwargs = normalize_gen_kwargs(given, NEW_TOKENS)
        if kwargs["do_sample"] or kwargs.get("num_beams", 1) != 1 or kwargs.keys() - GREEDY:
            raise ValueError(
                f"a task's generation_kwargs are {given}, but decoding is greedy here: have "
                "do_sample: false, and none that only other ways have"
            )
        count = kwargs["max_gen_toks"]
        if count >= self.max_length:
            raise ValueError(
                f"--max-length {self.max_length}: a task asks for answers of {count} tokens, which "
                "leaves none for the prompt; name a larger one, if the model goes so far"
            )
        prompt = (self.tok_encode(context) or [self.prefix])[count - self.max_length :]
        return Question(prompt, count, [string for string in kwargs["until"] if string])

    def answers(self, asked):
        """The answers to questions in one batch, which those that have ended leave."""
        tokens: list[list[int]] = [[] for _ in asked]
        texts, going = [""] * len(asked), list(range(len(asked)))
        while going:
            step = min(STEP, *(asked[n].count - len(tokens[n]) for n in going))
            prompts = [asked[n].prompt + tokens[n] for n in going]
            more = greedy(self.model, prompts, step, self.eot_token_id, self.dictionary.pad())
            unended = []
            for n, row in zip(going, more, strict=True):
                tokens[n] += row
                whole = self.coder.decode(tokens[n])
                texts[n] = postprocess_generated_text(whole, asked[n].until, None)
                if len(row) == step and len(tokens[n]) < asked[n].count and texts[n] == whole:
                    unended.append(n)
            going = unended
        return texts

    def batches(self, sizes, unit):
        """Lists of numbers of `sizes`, largest first, of --max-tokens tokens with their pads."""
        most = self.options.max_tokens or TOKENS[self.options.device]
        order = sorted(range(len(sizes)), key=lambda number: -sizes[number])
        interval = 0.5 if sys.stderr.isatty() else 30
        with tqdm(total=len(order), unit=f" {unit}", leave=False, mininterval=interval) as bar:
            while order:
                rows = max(1, most // sizes[order[0]])
                yield order[:rows]
                bar.update(len(order[:rows]))
                order = order[rows:]


def most_likely(model, features, dictionary):
    """What greedy decoding chooses after each of `features` (N, C), (N,) int64."""
    found, most = [], LOGITS.get(features.device.type, LOGITS["cpu"])
    for part in features.split(max(1, most // len(dictionary))):
        output = model.decoder.output_layer(part.unsqueeze(0))
        scores = model.get_normalized_probs((output, None), log_probs=True).squeeze(0)
        scores[:, dictionary.pad()] = -torch.inf
        found.append(scores.argmax(-1))
    return torch.cat(found)


def prefix(subject, name):
    """The index of eos or bos; of None, that which opened what the `subject` was trained on.

    Raises ValueError if that symbol is one that the model does not have.
    """
    dictionary = subject.task.source_dictionary
    if name is None:
        opened = subject.opener() == dictionary.bos()
        name = "bos" if opened or getattr(subject.task.args, "add_bos_token", False) else "eos"
    index = {"eos": dictionary.eos(), "bos": dictionary.bos()}[name]
    if index in getattr(subject.model.decoder, "absent", ()):
        raise ValueError(
            f"--prefix {name}: {subject.path} has no {dictionary[index]}; name another --prefix"
        )
    return index


def max_length(subject, given):
    """Tokens of an input: `given`, or as many as there are positions, or were trained.

    Raises ValueError for more than there are positions.
    """
    ceiling = subject.ceiling()
    if given is not None and ceiling is not None and given > ceiling:
        raise ValueError(
            f"--max-length {given}: {subject.path} has learned positions for {ceiling} tokens only"
        )
    return given or ceiling or subject.config.task.tokens_per_sample
