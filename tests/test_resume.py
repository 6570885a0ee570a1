"""Killed and resumed is never killed; and a file that is no checkpoint is none."""

import argparse
import os
import random
import resource
import shutil
import signal
import time

import forked
import numpy
import pytest
import torch
from command import eval_lm, train
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from limits import files_end_at

from nopos_plugin.engine import checkpoints as repairs

# 14 updates of a process are an epoch; dropout draws numbers in every update
KERPLE = "transformer_lm_kerple_log"
FLAGS = "--max-update 20 --save-interval-updates 5 --dropout 0.1 --attention-dropout 0.1".split()


@pytest.fixture(scope="module")
def never_killed(data_bin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(data_bin, KERPLE, folder, *FLAGS)
    return folder


def last_of(folder):
    return forked.state(folder / "checkpoint_last.pt")


@pytest.mark.parametrize("place", ["1_10", "2_15"])
def test_resumed_in_any_epoch_is_never_stopped(place, data_bin, never_killed, tmp_path):
    """fairseq-fixed draws other batches if it resumes in the second epoch, or a later one."""
    shutil.copy(never_killed / f"checkpoint_{place}.pt", tmp_path / "checkpoint_last.pt")
    train(data_bin, KERPLE, tmp_path, *FLAGS)
    forked.assert_equal(last_of(tmp_path), last_of(never_killed))


@pytest.mark.parametrize("precision", ["--bf16", "--fp16 --fp16-no-flatten-grads"])
def test_half_precision_goes_on_from_its_float32_parameters(precision, data_bin, tmp_path):
    flags = (*FLAGS, *precision.split())
    train(data_bin, KERPLE, tmp_path / "whole", *flags)
    (tmp_path / "resumed").mkdir()
    cut = tmp_path / "whole" / "checkpoint_2_15.pt"
    shutil.copy(cut, tmp_path / "resumed" / "checkpoint_last.pt")
    train(data_bin, KERPLE, tmp_path / "resumed", *flags)
    forked.assert_equal(last_of(tmp_path / "resumed"), last_of(tmp_path / "whole"))


def test_killed_and_resumed_is_never_killed(data_bin, never_killed, tmp_path):
    run = (data_bin, KERPLE, tmp_path, *FLAGS)
    process = forked.start(tmp_path / "log", *run)
    forked.wait_for(tmp_path / "checkpoint_last.pt", process)
    process.kill()
    assert forked.wait(process) == [-signal.SIGKILL]
    train(*run)
    forked.assert_equal(last_of(tmp_path), last_of(never_killed))


@pytest.mark.slow
def test_killed_at_any_time_and_resumed_is_never_killed(data_bin, never_killed, tmp_path):
    run, draw, statuses = (data_bin, KERPLE, tmp_path, *FLAGS), random.Random(1), []
    train(*run, "--max-update", "1")
    while statuses[-1:] != [0]:
        process = forked.start(tmp_path / "log", *run)
        time.sleep(0.1 * draw.uniform(1, 1.3) ** len(statuses))  # until it is long enough
        process.kill()
        statuses += forked.wait(process)
    assert set(statuses) == {0, -signal.SIGKILL} and len(statuses) > 3
    forked.assert_equal(last_of(tmp_path), last_of(never_killed))


def test_two_processes_one_killed_and_resumed_are_never_killed(data_bin, tmp_path):
    """The other one ends with an error, at once. Stock cannot resume: an UnpicklingError."""

    def run(folder):
        return forked.start_two(tmp_path, data_bin, KERPLE, tmp_path / folder, *FLAGS)

    first, second = run("killed")
    forked.wait_for(tmp_path / "killed" / "checkpoint_3_15.pt", first)
    second.kill()
    assert forked.wait(first, second) == [1, -signal.SIGKILL]
    assert "RuntimeError" in (tmp_path / "0.log").read_text()

    assert forked.wait(*run("killed")) == [0, 0]
    assert forked.wait(*run("whole")) == [0, 0]
    forked.assert_equal(last_of(tmp_path / "killed"), last_of(tmp_path / "whole"))


def test_what_is_trained_stays_as_it_is(data_bin, tmp_path, caplog):
    """Stock adds an update each time."""
    for _ in range(2):
        train(data_bin, KERPLE, tmp_path, "--max-update", "3")
    assert last_of(tmp_path)["updates"] == 3
    assert "nothing to train: --max-update 3, the checkpoint has 3" in caplog.text


def cut(content):
    return content[: len(content) // 2]


def hole(content):
    """As after a loss of power: the file has its length, and zeros where a tensor was."""
    middle = len(content) // 2
    return content[:middle] + bytes(500) + content[middle + 500 :]


BROKEN = {"cut": cut, "hole": hole, "empty": lambda content: b"", "text": lambda content: b"text"}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_checkpoint_stops_with_the_name_of_the_newest_good_one(damage, data_bin, tmp_path):
    run = (data_bin, KERPLE, tmp_path, "--save-interval-updates", "3")
    train(*run)
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(BROKEN[damage](last.read_bytes()))
    (tmp_path / "checkpoint_best.pt").write_bytes(b"newer, and no better")
    with pytest.raises(ValueError, match=r"checkpoint_last.pt is no whole checkpoint \(.*\): --re"):
        train(*run)
    sentence = f"--restore-file {tmp_path}/checkpoint_1_6.pt goes on from update 6"
    with pytest.raises(ValueError, match=sentence):
        train(*run)
    train(*run, "--restore-file", tmp_path / "checkpoint_1_6.pt")
    assert forked.state(last)["updates"] == 8


def test_without_a_good_one_nothing_starts_over(data_bin, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="no other in its folder is whole"):
        train(data_bin, KERPLE, tmp_path)


def test_a_lost_checkpoint_last_is_no_start_from_zero(data_bin, tmp_path):
    """A kill between the first checkpoint and its copy leaves only the first."""
    run = (data_bin, KERPLE, tmp_path, "--max-update", "3")
    train(*run)
    (tmp_path / "checkpoint_last.pt").unlink()
    with pytest.raises(ValueError, match="no checkpoint_last.pt: --restore-file .*_best.pt goes"):
        train(*run)
    train(*run, "--no-last-checkpoints")  # a folder of best ones is what they asked for


def test_a_lost_checkpoint_last_is_no_fine_tuning_from_the_start(
    data_bin, never_killed, checkpoints, tmp_path
):
    shutil.copy(never_killed / "checkpoint_1_10.pt", tmp_path)
    start = ("--finetune-from-model", checkpoints("kerple_log"))
    with pytest.raises(ValueError, match="has checkpoints, but no checkpoint_last.pt: --restore-"):
        train(data_bin, KERPLE, tmp_path, *start)
    train(data_bin, KERPLE, tmp_path, *start, "--no-save")
    train(data_bin, KERPLE, tmp_path / "new", *start)


def test_a_checkpoint_cut_anywhere_is_none(never_killed, tmp_path):
    """Where torch looks for the end of the zip file it finds 'Invalid argument', at some."""
    whole = (never_killed / "checkpoint_last.pt").read_bytes()
    path = tmp_path / "cut.pt"
    for size in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:size])
        with open(path, "rb") as f, pytest.raises(repairs.BrokenCheckpoint):
            repairs._load(f, map_location="cpu")


def test_a_restore_file_that_is_not_there_is_no_start_from_zero(data_bin, tmp_path):
    train(data_bin, KERPLE, tmp_path, "--max-update", "3")
    run = (data_bin, KERPLE, tmp_path, "--restore-file")
    with pytest.raises(ValueError, match=f"best.pt is not there; {tmp_path}/checkpoint_best.pt is"):
        train(*run, "checkpoint_best.pt")
    with pytest.raises(ValueError, match="--restore-file nix.pt is not there$"):
        train(*run, "nix.pt")


def test_a_copy_that_a_full_disk_ends_leaves_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(repairs, "PAUSES", ())
    (tmp_path / "new").write_bytes(b"new" * 10_000)
    (tmp_path / "last").write_bytes(b"old")
    with files_end_at(20_000), pytest.raises(OSError, match="last was not written .File too large"):
        PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert (tmp_path / "last").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["last", "new"]
    assert PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert (tmp_path / "last").read_bytes() == b"new" * 10_000


def test_a_second_attempt_does_not_follow_the_first_one_s_half(tmp_path, monkeypatch):
    """Room is made while fairseq waits; stock names what neither torch nor it can read."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room(seconds):
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    monkeypatch.setattr(time, "sleep", make_room)
    with files_end_at(20_000):
        checkpoint_utils.torch_persistent_save({"x": torch.ones(50_000)}, str(tmp_path / "x.pt"))
    assert torch.load(tmp_path / "x.pt")["x"].sum() == 50_000


def test_errors_that_no_waiting_mends_come_at_once(tmp_path):
    with pytest.raises(Exception, match="pickle"):
        checkpoint_utils.torch_persistent_save({"x": lambda: 0}, str(tmp_path / "x.pt"))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def old_checkpoint(data_bin, tmp_path):
    """A checkpoint as fairseq wrote them until 2021: a Namespace, numpy numbers; its loss."""
    train(data_bin, "transformer_lm", tmp_path / "new")
    state = torch.load(tmp_path / "new" / "checkpoint_best.pt")
    options = {**state["cfg"]["model"], **state["cfg"]["task"], "arch": "transformer_lm"}
    options |= {"task": "language_modeling", "criterion": "cross_entropy", "optimizer": "adam"}
    state["args"] = argparse.Namespace(**options, lr_scheduler="fixed")
    state["extra_state"]["val_loss"] = numpy.float64(state["extra_state"]["val_loss"])
    del state["cfg"]
    torch.save(state, tmp_path / "old.pt")
    new = tmp_path / "new" / "checkpoint_best.pt"
    return tmp_path / "old.pt", eval_lm(data_bin, new, "--tokens-per-sample", "32")


def test_an_old_checkpoint_needs_a_word_of_trust(old_checkpoint, data_bin, tmp_path, monkeypatch):
    path, loss = old_checkpoint
    uses = {
        "evaluation": lambda: eval_lm(data_bin, path, "--tokens-per-sample", "32"),
        "training": lambda: train(
            data_bin, "transformer_lm_sinusoidal", tmp_path / "on", "--finetune-from-model", path
        ),
    }
    for other in ("", str(tmp_path), f"{path}.pt"):
        monkeypatch.setenv(repairs.TRUSTED, other)
        for use in uses.values():
            with pytest.raises(ValueError, match=f"any code .*: if you .* {repairs.TRUSTED}="):
                use()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(repairs.TRUSTED, f"nix.pt{os.pathsep}old.pt")
    assert uses["evaluation"]() == loss
    uses["training"]()


class Stranger:
    """What a checkpoint of somebody's may hold."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_runs_no_code(data_bin, checkpoints, tmp_path):
    state = torch.load(checkpoints("rope"))
    state["extra_state"]["x"] = Stranger(str(tmp_path / "ran"))
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt holds posix.mkdir"):
        eval_lm(data_bin, tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()
