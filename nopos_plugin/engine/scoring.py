"""fairseq-eval-lm and prompts: a number is of all tokens, or there is none."""

import functools

import numpy
from fairseq.data import MonolingualDataset
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks.language_modeling import LanguageModelingTask

from nopos_plugin.data.context import ContextDataset


def score_every_token():
    """fairseq-eval-lm prints a perplexity of less than the split, and exits with 0.

    Of the blocks that are not too long, of one of several shards, of what a --sample-break-mode
    leaves, of tokens with a finite loss. All that is refused. And --context-window keeps the
    context in the collater, so that the answer depends on --num-workers: here it comes from
    indices. Both.
    """
    score = SequenceScorer.generate

    def eval_lm_dataloader(
        self,
        dataset,
        max_tokens=36000,
        batch_size=None,
        max_positions=None,
        num_shards=1,
        shard_id=0,
        num_workers=1,
        data_buffer_size=10,
        context_window=0,
    ):
        if num_shards > 1:
            raise ValueError(
                f"fairseq-eval-lm with {num_shards} shards (--num-shards or "
                "--distributed-world-size, which is the number of GPUs) would print the perplexity "
                "of one: give 1 for both, or use nopos-evaluate, which adds them up"
            )
        if not isinstance(dataset, MonolingualDataset):
            raise ValueError(
                "fairseq-eval-lm knows no SPLIT@WINDOW:STRIDE, nor what a task like "
                "pose_language_modeling trains on: use nopos-evaluate"
            )
        _refuse_left_out(dataset, self.args.sample_break_mode)
        if context_window > 0:
            size, pad = self.args.tokens_per_sample, self.source_dictionary.pad()
            dataset = ContextDataset(dataset, size, context_window, pad)
        _refuse_long_blocks(dataset, max_positions, max_tokens)
        return self.get_batch_iterator(
            dataset=dataset,
            max_tokens=max_tokens,
            max_sentences=batch_size,
            num_workers=num_workers,
            data_buffer_size=data_buffer_size,
        ).next_epoch_itr(shuffle=False)

    @functools.wraps(score)
    def generate(self, models, sample, **kwargs):
        hypotheses = score(self, models, sample, **kwargs)
        starts = sample.get("start_indices", [0] * len(hypotheses))
        ends = (sample["target"] != self.pad).long().cumsum(1).argmax(1) + 1
        for number, start, end, (best, *_) in zip(
            sample["id"].tolist(), starts, ends.tolist(), hypotheses, strict=True
        ):
            if len(best["positional_scores"]) != end - start:
                raise ValueError(
                    f"sample {number} has a pad (<pad>) among its tokens, which has no loss: there "
                    "is no perplexity"
                )
            finite = best["positional_scores"].isfinite()
            if not finite.all():
                raise ValueError(
                    f"sample {number} has {int((~finite).sum())} tokens whose loss is infinite or "
                    "no number: there is no perplexity"
                )
        return hypotheses

    LanguageModelingTask.eval_lm_dataloader = eval_lm_dataloader
    SequenceScorer.generate = generate


def _refuse_left_out(dataset, break_mode):
    """Raise ValueError unless the blocks of a MonolingualDataset hold all tokens of the split."""
    blocks = dataset.dataset
    split = blocks
    while hasattr(split, "dataset"):
        split = split.dataset
    kept, every = (int(numpy.sum(each.sizes, dtype=numpy.int64)) for each in (blocks, split))
    if kept != every:
        raise ValueError(
            f"the blocks of this evaluation hold {kept:,} tokens, and the split has {every:,}: "
            f"--sample-break-mode {break_mode} and --shorten-method decide that; use "
            "--sample-break-mode none, or nopos-evaluate"
        )


def _refuse_long_blocks(dataset, max_positions, max_tokens):
    """Raise ValueError for a block that the model or a batch does not hold."""
    longest = max(map(dataset.num_tokens, range(len(dataset))), default=0)
    for most, name in ((max_positions, "the model's positions"), (max_tokens, "--max-tokens")):
        if most is not None and longest > most:
            raise ValueError(
                f"a block of {longest} tokens, context included, exceeds {name} ({most}), and "
                "fairseq would leave it out: lower --tokens-per-sample"
                + (" or raise --max-tokens" if name == "--max-tokens" else "")
            )


def refuse_long_prompts():
    """Both cut a prompt to the reach of the model without a word, once max_positions() is None."""
    step = LanguageModelingTask.inference_step

    @functools.wraps(step)
    def inference_step(self, generator, models, sample, *args, **kwargs):
        length = sample["net_input"]["src_tokens"].size(1)
        reach = min(model.max_decoder_positions() for model in models)
        if length > reach:
            raise ValueError(
                f"a prompt has {length} tokens, and the model ends at {reach}: shorten it, or use "
                "a --position-encoding without an end"
            )
        return step(self, generator, models, sample, *args, **kwargs)

    LanguageModelingTask.inference_step = inference_step
