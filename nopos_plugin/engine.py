"""Repairs of the installed fairseq, each with its reason and a test.

None does anything where it is not needed. 0.12.2 is the last release of fairseq, fixed is
fairseq-fixed 0.12.3.1.
"""

import functools
import os
import types

import numpy
from fairseq import optim, utils
from fairseq.data import data_utils, token_block_dataset
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks.language_modeling import LanguageModelingTask

from nopos_plugin.data.context import ContextDataset
from nopos_plugin.data.load import is_empty, split_path
from nopos_plugin.data.windowed import WindowedDataset


@functools.cache
def repair():
    """Apply all of them, once a process."""
    restore_numpy_compat()
    keep_last_batch()
    name_missing_dictionary()
    explain_splits()
    score_every_token()
    refuse_long_prompts()
    keep_out_of_weight_decay()


def restore_numpy_compat():
    """`--sample-break-mode eos`, fairseq-interactive and the hub interface use np.compat.long.

    Both, with numpy >= 2. numpy itself is left alone.
    """
    if hasattr(numpy, "compat"):
        return
    patched = types.ModuleType("numpy with compat")
    patched.__dict__.update(numpy.__dict__, compat=types.SimpleNamespace(long=numpy.int64))
    token_block_dataset.np = patched


def keep_last_batch():
    """fixed drops the last batch unless its size is a multiple of 8, and prints a perplexity of the
    rest: of validation, too, and fairseq-generate leaves those sentences out. 0.12.2 keeps it.
    """
    batch = data_utils.batch_by_size

    @functools.wraps(batch)
    def batch_by_size(indices, *args, **kwargs):
        indices = numpy.fromiter(indices, dtype=numpy.int64)
        batches = batch(indices, *args, **kwargs)
        num_kept = sum(map(len, batches))
        return batches if num_kept == len(indices) else [*batches, indices[num_kept:]]

    data_utils.batch_by_size = batch_by_size


def name_missing_dictionary():
    """A folder that is no data-bin gets a sentence; both name the missing file alone."""
    setup = LanguageModelingTask.setup_dictionary.__func__

    @functools.wraps(setup)
    def setup_dictionary(cls, args, **kwargs):
        for path in utils.split_paths(args.data)[:1]:
            if not os.path.exists(os.path.join(path, "dict.txt")):
                raise FileNotFoundError(
                    f"{path} has no dict.txt, so it is no data-bin: "
                    "give the --destdir of fairseq-preprocess --only-source"
                )
        return setup(cls, args, **kwargs)

    LanguageModelingTask.setup_dictionary = classmethod(setup_dictionary)


def explain_splits():
    """A split in windows, and an empty one, get a sentence instead of 'not found', or a traceback.

    Both.
    """
    load = LanguageModelingTask.load_dataset

    @functools.wraps(load)
    def load_dataset(self, split, *args, **kwargs):
        if "@" in split:
            raise ValueError(
                f"{split}: windows need a model trained with --task windowed_language_modeling; "
                "nopos-evaluate evaluates any in windows"
            )
        if is_empty(split_path(self.args.data, split)):
            raise ValueError(f"the split {split} of {self.args.data} is empty")
        return load(self, split, *args, **kwargs)

    LanguageModelingTask.load_dataset = load_dataset


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
        if isinstance(dataset, WindowedDataset):
            raise ValueError("fairseq-eval-lm knows no SPLIT@WINDOW:STRIDE: use nopos-evaluate")
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


def keep_out_of_weight_decay():
    """Parameters with the attribute `exempt_from_decay` get an undecayed group of their own.

    Both hand the optimizer one flat list. Default --fp16 even makes one tensor of it, where nothing
    can be kept out: that is refused if weight decay is on.
    """
    build = optim.build_optimizer
    copy_params = optim.FP16Optimizer.build_fp32_params.__func__

    @functools.wraps(build)
    def build_optimizer(cfg, params, *args, **kwargs):
        optimizer = build(cfg, params, *args, **kwargs)
        # a composite optimizer holds several
        for each in getattr(optimizer, "optimizers", {"": optimizer}).values():
            _split_exempt(each.optimizer.param_groups)
        return optimizer

    @functools.wraps(copy_params)
    def build_fp32_params(cls, cfg, params, flatten=True):
        exempt = [hasattr(p, "exempt_from_decay") for p in params]
        if flatten and any(exempt) and getattr(cfg, "weight_decay", 0):
            raise ValueError(
                f"--fp16 with --weight-decay {cfg.weight_decay} would decay the parameters of the "
                "position encoding: add --fp16-no-flatten-grads or use --memory-efficient-fp16"
            )
        copies = copy_params(cls, cfg, params, flatten)
        if not flatten:
            for copy, is_exempt in zip(copies, exempt, strict=True):
                if is_exempt:
                    copy.exempt_from_decay = True
        return copies

    optim.build_optimizer = build_optimizer
    optim.FP16Optimizer.build_fp32_params = classmethod(build_fp32_params)


def _split_exempt(groups):
    """Move the exempt parameters of an optimizer's `groups` into groups that do not decay."""
    for group in list(groups):
        exempt = [p for p in group["params"] if hasattr(p, "exempt_from_decay")]
        if exempt and "weight_decay" in group:
            group["params"] = [p for p in group["params"] if not hasattr(p, "exempt_from_decay")]
            groups.append({**group, "params": exempt, "weight_decay": 0.0})
