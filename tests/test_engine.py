"""Each repair of fairseq: what it is for, that it does no more, and that twice is harmless."""

import contextlib
import random
from argparse import Namespace
from types import SimpleNamespace

import command
import fairseq
import hydra
import numpy
import pytest
import tiny
import torch
from fairseq import optim
from fairseq.data import FairseqDataset, data_utils, token_block_dataset
from fairseq.dataclass import utils
from fairseq.dataclass.configs import CommonConfig
from fairseq.optim.fp16_optimizer import _FP16OptimizerMixin
from fairseq.tasks.language_modeling import LanguageModelingTask
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nopos_plugin import engine

CARRIES_NO_BACKSLASH = not hydra.__version__.startswith("1.0")  # at the end, or before a quote
ADAM = OmegaConf.create(
    {
        **{"_name": "adam", "lr": [0.1], "weight_decay": 0.5, "adam_betas": "(0.9, 0.98)"},
        **{"adam_eps": 1e-8, "use_old_adam": True, "fp16_adam_stats": False, "tpu": False},
    }
)


def test_repairs_are_applied_once():
    repaired = (optim.build_optimizer, LanguageModelingTask.inference_step, token_block_dataset.np)
    engine.repair()
    again = (optim.build_optimizer, LanguageModelingTask.inference_step, token_block_dataset.np)
    assert all(old is new for old, new in zip(repaired, again, strict=True))
    assert not hasattr(optim.build_optimizer.__wrapped__, "__wrapped__")


@pytest.mark.parametrize("count", [1, 7, 8, 9, 24, 29])
def test_no_batch_is_dropped(count):
    sizes = numpy.full(count, 5)
    for multiple in (1, 8):
        batches = data_utils.batch_by_size(
            numpy.arange(count), lambda i: 5, sizes, 40, None, required_batch_size_multiple=multiple
        )
        assert numpy.concatenate(batches).tolist() == list(range(count))


def test_sentence_blocks_work_on_a_numpy_without_compat():
    sentences = [torch.tensor([5, 6, 2]), torch.tensor([7, 2])]
    blocks = token_block_dataset.TokenBlockDataset(
        sentences, [3, 2], block_size=None, pad=1, eos=2, break_mode="eos"
    )
    assert [block.tolist() for block in blocks] == [[5, 6, 2], [7, 2]]
    assert token_block_dataset.np.compat.long in (int, numpy.int64)
    if int(numpy.__version__.split(".")[0]) >= 2:
        assert not hasattr(numpy, "compat")  # numpy itself is as it was


# what the shell hands on -> what hydra has a use of its own for
@pytest.mark.parametrize("value", [r"separators=${a}", "separators=a\\", r"separators=\'"])
def test_what_hydra_would_change_is_refused(value):
    changes = "$" in value or CARRIES_NO_BACKSLASH
    with pytest.raises(ValueError) if changes else contextlib.nullcontext() as error:
        cfg = tiny.config("transformer_lm_bipe_rope", "--position-args", value)
    if changes:
        assert str(error.value).startswith(f"--position-args {value}: hydra, which carries")
    else:
        assert cfg.model.position_args == value


def test_what_is_typed_survives_hydra_or_is_refused():
    draw, refused = random.Random(0), 0
    for _ in range(500):
        typed = "".join(draw.choices("\\'\"a ,=$[]\n", k=draw.randint(1, 6)))
        try:
            overrides = utils._override_attr("common", CommonConfig, Namespace(user_dir=typed))
        except ValueError:
            refused += 1
            continue
        (text,) = (text for text in overrides if text.startswith("common.user_dir="))
        assert OverridesParser.create().parse_override(text).value() == typed
    assert (refused > 0) == CARRIES_NO_BACKSLASH


def test_a_training_knows_nothing_of_the_one_before(data_bin, tmp_path):
    """What fairseq-hydra-train --multirun is: several in one process."""
    flags = "--patience 1 --validate-interval-updates 4 --tensorboard-logdir".split()
    losses = []
    for name, lr in (("good", "0.005"), ("bad", "1e-7")):
        folder = tmp_path / name
        command.train(data_bin, "transformer_lm_nopos", folder, *flags, folder, "--lr", lr)
        best = torch.load(folder / "checkpoint_best.pt", weights_only=True)
        assert best["optimizer_history"][-1]["num_updates"] == 8
        assert list(folder.glob("valid/*tfevents*"))
        losses.append(best["extra_state"]["best"])
    assert losses[0] < losses[1]


def kerple_and_matrix():
    """All parameters of a model, and those of its encoding, which must not decay."""
    model = tiny.model("transformer_lm_kerple_log").train()
    return list(model.parameters()), list(model.decoder.encoding.parameters())


@pytest.mark.parametrize("build", [optim.build_optimizer, None], ids=["fp32", "fp16-no-flatten"])
def test_kernel_parameters_do_not_decay(build):
    params, exempt = kerple_and_matrix()
    before = [p.detach().clone() for p in params]
    if build is None:
        held = optim.FP16Optimizer.build_fp32_params(ADAM, params, flatten=False)
        optimizer = optim.build_optimizer(ADAM, held)
    else:
        held, optimizer = params, build(ADAM, params)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(params)
    assert optimizer.optimizer_config["weight_decay"] == 0.5
    for p in held:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    ids = [id(p) for p in exempt]
    for original, p, old in zip(params, held, before, strict=True):
        expected = old if id(original) in ids else old * (1 - 0.1 * 0.5)
        torch.testing.assert_close(p.detach(), expected)


def test_models_without_such_parameters_keep_one_group():
    params = list(tiny.model("transformer_lm_t5").parameters())
    assert len(optim.build_optimizer(ADAM, params).param_groups) == 1


def test_flattened_fp16_with_weight_decay_is_refused_for_them():
    params, _ = kerple_and_matrix()
    cfg = SimpleNamespace(
        optimizer=ADAM, common=SimpleNamespace(fp16_no_flatten_grads=False, bf16=False)
    )
    with pytest.raises(ValueError, match="weight-decay 0.5 would decay .* --fp16-no-flatten-grads"):
        optim.FP16Optimizer.build_optimizer(cfg, params)


@pytest.mark.gpu
def test_flattened_fp16_without_weight_decay_is_stock():
    params = [p.cuda().half() for p in kerple_and_matrix()[0]]
    free = OmegaConf.merge(ADAM, {"weight_decay": 0.0})
    flat = optim.FP16Optimizer.build_fp32_params(free, params, flatten=True)
    assert sum(p.numel() for p in flat.values()) == sum(p.numel() for p in params)


def test_half_precision_keeps_kernels_in_float32():
    model = tiny.model("transformer_lm_kerple_power").half()
    assert {p.dtype for p in model.decoder.encoding.parameters()} == {torch.float32}
    assert model.decoder.embed_tokens.weight.dtype == torch.float16
    copies = _FP16OptimizerMixin.build_fp32_params(None, list(model.parameters()), flatten=False)
    assert {p.dtype for p in copies} == {torch.float32}


def test_the_engine_is_one_of_the_two_supported():
    assert fairseq.__version__.startswith("0.12")


def test_batches_of_a_later_epoch_are_those_of_the_first():
    """What is kept for all epochs does not depend on the one in which it was made."""

    def made(epoch, seed=1):
        task = LanguageModelingTask.__new__(LanguageModelingTask)
        task.cfg = task.args = SimpleNamespace()
        task.dataset_to_epoch_iter = {}
        dataset = Shuffled()
        batches = task.get_batch_iterator(dataset, max_tokens=12, seed=seed, epoch=epoch)
        assert task.get_batch_iterator(dataset, max_tokens=12, seed=seed, epoch=9) is batches
        return [numpy.asarray(batch).tolist() for batch in batches.frozen_batches]

    assert made(1) == made(2) == made(7) != made(1, seed=2)


class Shuffled(FairseqDataset):
    """40 sentences of 3 tokens in an order that numpy's seed decides."""

    def __len__(self):
        return 40

    def set_epoch(self, epoch):
        self.epoch = epoch

    def num_tokens(self, index):
        return 3

    def num_tokens_vec(self, indices):
        return numpy.full(len(indices), 3)

    def ordered_indices(self):
        return numpy.random.permutation(40)
