"""--task pose_language_modeling: trained, resumed, and refused where it cannot be."""

import logging
import shutil

import pytest
import torch
from command import train

from nopos_plugin.cli.prepare_text import main as prepare_text

POSE = ("--task", "pose_language_modeling", "--extension-factor", "4", "--documents", "blank-lines")
MOVABLE = ("rope", "alibi", "kerple_log", "t5", "sinusoidal")


def parameters(folder, name="checkpoint_last.pt"):
    return torch.load(folder / name, weights_only=False)["model"]


@pytest.mark.parametrize("encoding", MOVABLE)
def test_encodings_train_at_positions_beyond_the_window(data_bin, tmp_path, caplog, encoding):
    reach = ("--max-target-positions", "128") if encoding == "sinusoidal" else ()
    with caplog.at_level(logging.INFO):
        train(data_bin, f"transformer_lm_{encoding}", tmp_path, *POSE, *reach)
    assert "extension: original, windows of 32 at positions up to 128" in caplog.text
    assert "num_updates" in caplog.text


def test_the_positions_reach_the_model(data_bin, tmp_path):
    """Trainings that differ in the law alone end elsewhere, equal ones do not."""
    made = []
    for number, more in enumerate([(), (), ("--extension", "plain")]):
        train(data_bin, "transformer_lm_rope", tmp_path / str(number), *POSE, *more)
        made.append(parameters(tmp_path / str(number)))
    name = "decoder.layers.0.self_attn.q_proj.weight"
    assert torch.equal(made[0][name], made[1][name])
    assert not torch.equal(made[0][name], made[2][name])


def test_resumed_it_is_as_if_it_had_not_stopped(data_bin, tmp_path):
    """In the second epoch, and with a process that reads ahead: positions are drawn by seed, epoch
    and document."""
    long = (*POSE, "--documents", "lines", "--max-update", "30", "--save-interval-updates", "10")
    long = (*long, "--dropout", "0.1")
    train(data_bin, "transformer_lm_rope", tmp_path / "whole", *long)
    (cut,) = (tmp_path / "whole").glob("checkpoint_*_20.pt")
    (tmp_path / "resumed").mkdir()
    shutil.copy(cut, tmp_path / "resumed" / "checkpoint_last.pt")
    state = torch.load(cut, weights_only=False)["extra_state"]["train_iterator"]
    assert state["epoch"] == 2 and state["iterations_in_epoch"] > 0
    train(data_bin, "transformer_lm_rope", tmp_path / "resumed", *long, "--num-workers", "1")
    whole, resumed = (parameters(tmp_path / name) for name in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_a_model_was_trained_with_is_not_changed_unasked(data_bin, tmp_path, caplog):
    args = ("--position-args", "theta=500.0,scaling=linear,factor=2")
    train(data_bin, "transformer_lm_rope", tmp_path / "base", *args)
    start = ("--finetune-from-model", tmp_path / "base" / "checkpoint_last.pt")

    def fine_tuned(name, *more):
        train(data_bin, "transformer_lm_rope", tmp_path / name, *start, *more)

    for more, then, now in (
        ((), "theta=500.0,scaling=linear,factor=2.0", "theta=10000.0,scaling=none,factor=0.0"),
        (("--position-args", "scaling=ntk,factor=4"), "theta=500.0", "theta=10000.0"),
    ):
        with pytest.raises(Exception, match="Cannot load model parameters") as caught:
            fine_tuned("no", *more)
        said = f"the checkpoint was trained with {then}, and this model has {now}: type the former"
        assert said in str(caught.value.__context__)
    fine_tuned("kept", *args)
    fine_tuned("changed", "--position-args", "theta=9.0,scaling=ntk,factor=4")
    assert "rope changed since training: theta=9.0 (trained: 500.0), scaling=ntk" in caplog.text
    fine_tuned("off", "--position-args", "theta=500.0,scaling=none")


def test_a_trained_model_is_extended(data_bin, checkpoints, tmp_path, caplog):
    args = ("--position-args", "scaling=linear,factor=4")
    with caplog.at_level(logging.WARNING):
        start = ("--finetune-from-model", checkpoints("rope"))
        train(data_bin, "transformer_lm_rope", tmp_path / "bin", *POSE, *args, *start)
    assert "position encoding rope changed since training: scaling=linear (trained: none)" in (
        caplog.text
    )


def test_documents_are_the_items_of_a_data_bin_that_says_so(tmp_path):
    (tmp_path / "x").write_text("".join(f"{n} some words\nand more\n\n" for n in range(40)))
    made = tmp_path / "bin"
    typed = ("--documents", "blank-lines", "--tokenizer", "bytes", "--valid-documents", "5")
    assert prepare_text([str(tmp_path / "x"), *typed, "--dest", str(made)]) == 0
    train(made, "transformer_lm_rope", tmp_path / "save", *POSE[:4])
    assert (tmp_path / "save" / "checkpoint_last.pt").exists()


def test_sliding_windows_validate_it(data_bin, tmp_path, caplog):
    valid = ("--criterion", "sliding_window", "--valid-subset", "valid@64:16,valid")
    with caplog.at_level(logging.INFO):
        train(data_bin, "transformer_lm_rope", tmp_path, *POSE, *valid)
    assert "valid@64:16" in caplog.text


@pytest.mark.parametrize(
    "arch, typed, sentence",
    [
        ("rope", POSE[:2], "needs --extension-factor: how many windows"),
        ("rope", (*POSE, "--extension-factor", "0.5"), "--extension-factor 0.5: the target would"),
        ("rope", POSE[:4], "what a document is, is not known: train has 400 lines"),
        ("rope", (*POSE, "--num-chunks", "3"), "--num-chunks 3 is for --extension chunks"),
        ("rope", (*POSE, "--extension", "chunks", "--num-chunks", "1"), "give at least 2"),
        ("rope", (*POSE, "--extension", "chunks", "--num-chunks", "33"), "so give fewer"),
        ("rope", (*POSE, "--chunk-text", "aligned"), "--extension original has free and contig"),
        ("rope", (*POSE, "--extension", "plain", "--no-jump-loss"), "has no chunks to jump to"),
        ("nopos", POSE, "--position-encoding nopos: it has no positions, so any are the same"),
        ("bipe_alibi", POSE, "--position-encoding bipe_alibi: its positions are segments"),
        ("learned", POSE, "positions up to 128 are beyond --position-encoding learned, .* at 32"),
    ],
)
def test_what_cannot_be_is_a_sentence(data_bin, tmp_path, arch, typed, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(data_bin, f"transformer_lm_{arch}", tmp_path, *typed)
    assert not list(tmp_path.iterdir())


def test_a_stock_model_cannot_be_told_positions(data_bin, tmp_path):
    with pytest.raises(ValueError, match="needs an --arch of this plugin"):
        train(data_bin, "transformer_lm", tmp_path, *POSE)


def test_a_second_training_text_is_not_left_out(data_bin, tmp_path):
    folder = tmp_path / "bin"
    shutil.copytree(data_bin, folder)
    for suffix in (".bin", ".idx"):
        shutil.copy(folder / f"train{suffix}", folder / f"train1{suffix}")
    with pytest.raises(ValueError, match="has train1 beside train, which would be left out"):
        train(folder, "transformer_lm_rope", tmp_path / "save", *POSE)
