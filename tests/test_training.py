"""fairseq-train and fairseq-eval-lm with every encoding: train short, evaluate long."""

import re
import sys

import pytest
import tiny
import torch
from command import SIZE, TRAINING, eval_lm, fairseq, run, train
from conftest import VALID_TOKENS, WORDS
from fairseq import checkpoint_utils, tasks

from nopos_plugin import positions

LENGTHS = (8, 32, 128, 900)
KNOWN = set(WORDS)
AVERAGE = """
import sys, torch
from collections import OrderedDict
*paths, target = sys.argv[1:]
states = [torch.load(path) for path in paths]
total = OrderedDict()
for state in states:
    for name, p in state["model"].items():
        p = p.float() if isinstance(p, torch.HalfTensor) else p
        total[name] = total[name] + p if name in total else p.clone()
states[0]["model"] = {
    name: p / len(states) if p.is_floating_point() else p // len(states)
    for name, p in total.items()
}
torch.save(states[0], target)
"""


@pytest.mark.parametrize("encoding", positions.names())
def test_every_token_is_scored_at_every_length(encoding, data_bin, checkpoints, caplog):
    path = checkpoints(encoding)
    limit = 32 if positions.get(encoding).name == "learned" else sys.maxsize
    for length in LENGTHS:
        caplog.clear()
        if length > limit:
            with pytest.raises(ValueError, match=f"learned ends at 32 tokens.*{length}"):
                eval_lm(data_bin, path, "--tokens-per-sample", length)
            continue
        result = eval_lm(data_bin, path, "--tokens-per-sample", length)
        (count,) = re.findall(r"Evaluated ([\d,]+) tokens", caplog.text)
        assert int(count.replace(",", "")) == VALID_TOKENS
        assert 2.0 < result["loss"] < 5.0
    assert "will be skipped" not in caplog.text


def test_training_lowers_the_loss_and_says_with_what(data_bin, tmp_path):
    """As real processes: the log, the checkpoint, an evaluation beyond the trained length."""
    code, output = fairseq(
        *("train", data_bin, "--arch", "transformer_lm_bipe_rope", *SIZE, *TRAINING),
        *("--save-dir", tmp_path, "--position-args", "theta=500,separators=.|</s>,size=40"),
    )
    assert code == 0, output
    expected = (
        "position encoding: bipe_rope (theta=500.0,fraction=1.0,layout=half,separators=.|</s>,"
        "inner=learned,size=40), 1,280 parameters"
    )
    assert expected in output
    losses = [float(x) for x in re.findall(r"train_inner .*? loss=([\d.]+)", output)]
    assert len(losses) == 2 and losses[1] < losses[0]

    saved = torch.load(tmp_path / "checkpoint_best.pt")
    assert saved["cfg"]["model"]["position_encoding"] == "bipe_rope"
    assert saved["cfg"]["model"]["trained_position_args"] in expected
    marker = saved["model"]["decoder.encoding._extra_state"]
    assert bytes(marker.int().tolist()).decode() == (
        f"bipe_rope {saved['cfg']['model']['trained_position_args']} parameters=1280"
    )

    code, output = fairseq(
        *("eval-lm".replace("-", "_"), data_bin, "--path", tmp_path / "checkpoint_best.pt"),
        *("--gen-subset", "valid", "--tokens-per-sample", "256", "--cpu", "--num-workers", "2"),
    )
    assert code == 0, output
    assert f"Evaluated {VALID_TOKENS} tokens" in output and expected in output
    assert re.search(r"Loss \(base 2\): [\d.]+, Perplexity: [\d.]+", output)


@pytest.mark.parametrize("sentences", [1, 8, 11, 100])
def test_validation_while_training_scores_every_token(sentences, data_bin):
    """fairseq-fixed drops a last batch that is no multiple of 8, and goes on with the rest."""
    cfg = tiny.config("transformer_lm_nopos", tokens_per_sample=32)
    cfg.task.data = str(data_bin)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("valid")
    batches = task.get_batch_iterator(
        task.dataset("valid"), max_sentences=sentences, required_batch_size_multiple=8
    ).next_epoch_itr(shuffle=False)
    assert sum(batch["ntokens"] for batch in batches) == VALID_TOKENS


def test_options_at_evaluation_merge_over_the_checkpoints(data_bin, tmp_path, caplog):
    train(data_bin, "transformer_lm_rope", tmp_path, "--position-args", "theta=500,fraction=0.5")
    path = tmp_path / "checkpoint_best.pt"
    plain = eval_lm(data_bin, path, "--tokens-per-sample", "64")
    caplog.clear()
    other = eval_lm(
        *(data_bin, path, "--tokens-per-sample", "64"),
        *("--model-overrides", "{'position_args': 'theta=20'}"),
    )
    assert "rope (theta=20.0,fraction=0.5,layout=half)" in caplog.text
    assert "theta=20.0 (trained: 500.0)" in caplog.text
    assert other["loss"] != plain["loss"]


def test_the_resolved_separators_come_from_the_manifest_and_stay_with_the_model(data_bin, tmp_path):
    for part in data_bin.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "manifest.json").write_text('{"separators": ["dogs", "mat"]}')
    train(tmp_path, "transformer_lm_bipe_alibi", tmp_path / "model")
    path = tmp_path / "model" / "checkpoint_best.pt"
    models, cfg, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], {"data": str(data_bin)}
    )
    assert models[0].decoder.encoding.config.separators == ("dogs", "mat")
    assert "separators=dogs|mat" in cfg.model.trained_position_args


@pytest.mark.parametrize("break_mode", ["complete", "eos"])
def test_lines_longer_than_the_block_are_scored_too(break_mode, data_bin, checkpoints, caplog):
    """Stock fairseq drops blocks that a complete mode makes longer than the trained length."""
    flags = ("--tokens-per-sample", "16", "--sample-break-mode", break_mode)
    eval_lm(data_bin, checkpoints("nopos"), *flags)
    (count,) = re.findall(r"Evaluated ([\d,]+) tokens", caplog.text)
    assert int(count) == VALID_TOKENS


def test_training_resumes_bit_for_bit(data_bin, tmp_path):
    arch, decay = "transformer_lm_kerple_power", ("--weight-decay", "0.1")
    for folder, updates in (("parts", 4), ("parts", 8), ("whole", 8)):
        train(data_bin, arch, tmp_path / folder, *decay, "--max-update", updates)
    parts = torch.load(tmp_path / "parts" / "checkpoint_last.pt")["model"]
    whole = torch.load(tmp_path / "whole" / "checkpoint_last.pt")["model"]
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_a_checkpoint_of_another_encoding_is_refused(data_bin, checkpoints, tmp_path, caplog):
    path = checkpoints("alibi")
    override = ("--model-overrides", "{'position_encoding': 'rope'}")
    with pytest.raises(
        ValueError, match="rope: the checkpoint was trained with --position-encoding alibi"
    ):
        eval_lm(data_bin, path, *override)
    with pytest.raises(Exception, match="Cannot load model parameters") as caught:
        train(data_bin, "transformer_lm_rope", tmp_path, "--restore-file", path)
    assert "trained with --position-encoding alibi" in str(caught.value.__context__)


def test_moving_and_plain_averages_keep_the_encoding(data_bin, tmp_path):
    """--store-ema multiplies every tensor of the state dict; the averaging script adds them."""
    flags = ("--store-ema", "--ema-decay", "0.7", "--position-args", "separators=.|the")
    train(data_bin, "transformer_lm_bipe_rope", tmp_path, *flags)
    path = tmp_path / "checkpoint_last.pt"
    state = torch.load(path)
    assert eval_lm(data_bin, path)["loss"] > 0
    state["model"] = state["extra_state"]["ema"]
    torch.save(state, tmp_path / "ema.pt")
    assert eval_lm(data_bin, tmp_path / "ema.pt")["loss"] > 0
    code, output = run(
        *("-c", AVERAGE, path, path, tmp_path / "ema.pt", tmp_path / "average.pt"), cwd=tmp_path
    )
    assert code == 0, output
    assert eval_lm(data_bin, tmp_path / "average.pt")["loss"] > 0


def test_generation_and_interactive_write_text(data_bin, checkpoints):
    path = checkpoints("bipe_rope")
    flags = (
        "--task",
        "language_modeling",
        "--path",
        path,
        "--cpu",
        "--beam",
        "2",
        "--max-len-b",
        "40",
    )
    code, output = fairseq(
        *("generate", data_bin, "--gen-subset", "valid", "--sample-break-mode", "eos", *flags)
    )
    assert code == 0, output
    hypotheses = re.findall(r"^H-\d+\t-[\d.]+\t(.*)$", output, re.MULTILINE)
    assert len(hypotheses) == 60 and all(set(h.split()) <= KNOWN for h in hypotheses)


def test_interactive_continues_what_it_is_given(data_bin, checkpoints, tmp_path):
    (tmp_path / "prompt").write_text("the cat sat\n")
    code, output = fairseq(
        *("interactive", data_bin, "--task", "language_modeling", "--path", checkpoints("alibi")),
        *("--cpu", "--beam", "2", "--max-len-b", "50", "--input", tmp_path / "prompt"),
    )
    assert code == 0, output
    (text,) = re.findall(r"^H-0\t-[\d.]+\t(.*)$", output, re.MULTILINE)
    assert text.startswith("the cat sat ") and set(text.split()) <= KNOWN
