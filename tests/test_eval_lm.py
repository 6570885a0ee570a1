"""fairseq-eval-lm with the plugin: one answer, of all tokens, or a sentence."""

import shutil

import pytest
import torch
from command import eval_lm, train
from fairseq.data.indexed_dataset import make_builder

CONTEXT = ("--tokens-per-sample", "24", "--context-window", "16")


def test_the_answer_is_the_same_for_any_number_of_workers(data_bin, checkpoints):
    path = checkpoints("alibi")
    found = {
        float(eval_lm(data_bin, path, *CONTEXT, "--num-workers", workers)["loss"])
        for workers in (0, 1, 2, 4)
    }
    assert len(found) == 1


@pytest.mark.parametrize("flags", [("--batch-size", "1"), ("--max-tokens", "24")], ids=str)
def test_and_for_any_batches(data_bin, checkpoints, flags):
    path = checkpoints("alibi")
    found = float(eval_lm(data_bin, path, *CONTEXT, *flags)["loss"])
    assert found == pytest.approx(float(eval_lm(data_bin, path, *CONTEXT)["loss"]), rel=1e-6)


def test_the_budget_counts_the_context(data_bin, checkpoints):
    with pytest.raises(ValueError, match="24 tokens, context included, exceeds --max-tokens .23"):
        eval_lm(data_bin, checkpoints("alibi"), *CONTEXT, "--max-tokens", "23")


@pytest.mark.parametrize("mode", ["complete_doc", "complete", "eos"])
def test_break_modes_that_leave_tokens_out_are_refused(data_bin, checkpoints, mode):
    flags = ("--sample-break-mode", mode, "--tokens-per-sample", "64", "--max-tokens", "1000")
    if mode == "complete_doc":
        with pytest.raises(ValueError, match="the split has 957: --sample-break-mode complete_doc"):
            eval_lm(data_bin, checkpoints("alibi"), *flags)
    else:
        assert eval_lm(data_bin, checkpoints("alibi"), *flags)["loss"] > 0


def test_shortened_lines_are_refused(data_bin, checkpoints):
    flags = ("--shorten-method", "truncate", "--shorten-data-split-list", "valid")
    with pytest.raises(ValueError, match="and the split has 957"):
        eval_lm(data_bin, checkpoints("alibi"), *flags, "--tokens-per-sample", "8")


def test_long_blocks_of_a_stock_model_are_refused(data_bin, tmp_path):
    train(data_bin, "transformer_lm", tmp_path)
    path = tmp_path / "checkpoint_best.pt"
    with pytest.raises(ValueError, match="a block of 64 tokens, .* the model's positions .32"):
        eval_lm(data_bin, path, "--tokens-per-sample", "64")


def test_a_loss_that_is_no_number_is_refused(data_bin, checkpoints, tmp_path):
    state = torch.load(checkpoints("alibi"), weights_only=False)
    for name, weight in state["model"].items():
        if name.endswith("fc1.bias"):
            weight[:] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(ValueError, match="sample 0 has 957 tokens whose loss is infinite"):
        eval_lm(data_bin, tmp_path / "nan.pt")


def test_a_pad_in_the_text_is_refused(checkpoints, data_bin, tmp_path):
    shutil.copytree(data_bin, tmp_path / "bin")
    builder = make_builder(str(tmp_path / "bin/valid.bin"), impl="mmap", vocab_size=9)
    builder.add_item(torch.tensor([4, 5, 1, 6, 2]))
    builder.finalize(str(tmp_path / "bin/valid.idx"))
    with pytest.raises(ValueError, match="sample 0 has a pad"):
        eval_lm(tmp_path / "bin", checkpoints("alibi"))


def test_windows_by_name_are_for_others(checkpoints, data_bin):
    with pytest.raises(ValueError, match="valid@24:8: windows need a model trained with --task"):
        eval_lm(data_bin, checkpoints("alibi"), "--gen-subset", "valid@24:8")
