"""Faults, tried: what a cluster, a disk, a file or a number can do to a training."""

import os
import re
import shutil
import signal
import subprocess
import sys

import forked
import pytest
from command import PLUGIN, SIZE, TRAINING, eval_lm, train
from limits import files_end_at

from nopos_plugin.engine import checkpoints as engine_checkpoints

ARCH = "transformer_lm_kerple_power"
LONG = ("--max-update", "100000", "--validate-interval", "1000", "--dropout", "0.1")
FAST = ("--no-epoch-checkpoints", "--save-interval", "1000", "--log-interval", "1")


def finished(data, folder, updates):
    """The state after so many updates, all in one go."""
    train(data, ARCH, folder, *LONG, *FAST, "--max-update", updates)
    return forked.state(folder / "checkpoint_last.pt")


def test_sigterm_leaves_a_checkpoint_and_143(data_bin, tmp_path):
    """And what it leaves is the training so far: it goes on as if nothing had been."""
    run = (data_bin, ARCH, tmp_path / "stopped", *LONG, *FAST)
    process = forked.start(tmp_path / "log", *run)
    forked.wait_for_update(3, tmp_path / "log", process)
    process.terminate()
    assert forked.wait(process) == [143]
    (count,) = re.findall(r"SIGTERM: stopped after update (\d+)", (tmp_path / "log").read_text())
    stopped = forked.state(tmp_path / "stopped" / "checkpoint_last.pt")
    assert stopped["updates"] == int(count) >= 3
    assert os.listdir(tmp_path / "stopped") == ["checkpoint_last.pt"]
    train(*run, "--max-update", int(count) + 5)
    resumed = forked.state(tmp_path / "stopped" / "checkpoint_last.pt")
    forked.assert_equal(resumed, finished(data_bin, tmp_path / "whole", int(count) + 5))


def test_sigterm_to_data_loaders_too_leaves_a_checkpoint(data_bin, tmp_path):
    """The real command, and no process is left; clusters and `timeout` send it to all of them."""
    command = [sys.executable, "-m", "fairseq_cli.train", data_bin, "--user-dir", PLUGIN]
    command += ["--arch", ARCH, "--save-dir", tmp_path / "model", *SIZE, *TRAINING, *LONG, *FAST]
    command += ["--num-workers", "2", "--max-tokens", "32", "--update-freq", "40"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
            # a background job of a script, as these tests may be, ignores it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    forked.wait_for_update(3, tmp_path / "log", process)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(forked.PATIENCE) == 143
    output = (tmp_path / "log").read_text()
    (count,) = re.findall(r"SIGTERM: stopped after update (\d+)", output)
    assert forked.state(tmp_path / "model" / "checkpoint_last.pt")["updates"] == int(count)
    assert "Traceback" not in output
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("told", [0, 1])
def test_sigterm_to_one_of_two_stops_both_after_the_same_update(told, data_bin, tmp_path):
    both = forked.start_two(tmp_path, data_bin, ARCH, tmp_path / "model", *LONG, *FAST)
    forked.wait_for_update(3, tmp_path / "0.log", both[0])
    both[told].terminate()
    assert forked.wait(*both) == [143, 143]
    assert forked.state(tmp_path / "model" / "checkpoint_last.pt")["updates"] >= 3


def test_a_full_disk_leaves_the_checkpoints_of_before(data_bin, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_checkpoints, "PAUSES", ())
    run = (data_bin, ARCH, tmp_path, *FAST)
    train(*run, "--max-update", "3")
    last = tmp_path / "checkpoint_last.pt"
    size, before = last.stat().st_size, sorted(os.listdir(tmp_path))
    for limit in (100, size // 2, size - 1):
        with files_end_at(limit), pytest.raises(OSError, match="written .File too large.; checkp"):
            train(*run)
        assert sorted(os.listdir(tmp_path)) == before
        assert forked.state(last)["updates"] == 3
    train(*run)
    assert forked.state(last)["updates"] == 8


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of 1.5 MB, where this process may mount one."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", tmp_path / "disk"]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a tmpfs; the same is tried with a limit of files")
    yield tmp_path / "disk"
    subprocess.run(["umount", tmp_path / "disk"], check=True)


def test_a_disk_that_fills_up_leaves_the_checkpoints_of_before(data_bin, small_disk, monkeypatch):
    monkeypatch.setattr(engine_checkpoints, "PAUSES", ())
    run = (data_bin, ARCH, small_disk)
    with pytest.raises(OSError, match="was not written .No space left on device"):
        train(*run, "--save-interval-updates", "1", "--max-update", "20")
    kept = [forked.state(path)["updates"] for path in small_disk.iterdir()]
    assert len(kept) == 5 and max(kept) == 3  # of a quarter of a megabyte each, all whole
    (small_disk / "checkpoint_1_1.pt").unlink()
    updates = forked.state(small_disk / "checkpoint_last.pt")["updates"]
    train(*run, "--max-update", updates + 1, "--no-epoch-checkpoints")
    assert forked.state(small_disk / "checkpoint_last.pt")["updates"] == updates + 1


def test_a_gradient_that_is_no_number_ends_with_a_sentence(data_bin, tmp_path):
    sentence = (
        r"gradients of update 2 are infinite or no number, at a learning rate of 1e\+30: lower --lr"
    )
    with pytest.raises(FloatingPointError, match=sentence):
        train(data_bin, ARCH, tmp_path / "one", "--lr", "1e30")
    both = forked.start_two(tmp_path, data_bin, ARCH, tmp_path / "two", "--lr", "1e30")
    assert forked.wait(*both) == [1, 1]
    for rank in range(2):
        last = (tmp_path / f"{rank}.log").read_text().strip().splitlines()[-1]
        assert re.match(f"FloatingPointError: the {sentence}", last)
    assert os.listdir(tmp_path / "one") == ["crash.pt"]  # which nobody takes for a good one
    (tmp_path / "one" / "checkpoint_last.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="no other in its folder is whole"):
        train(data_bin, ARCH, tmp_path / "one")


def test_a_dictionary_that_changed_since_training(data_bin, checkpoints, tmp_path):
    for part in data_bin.iterdir():
        shutil.copy(part, tmp_path)
    symbols = (tmp_path / "dict.txt").read_text().splitlines()
    (tmp_path / "dict.txt").write_text("\n".join(reversed(symbols)) + "\n")
    with pytest.raises(ValueError, match="is not the one that the checkpoint was trained with"):
        eval_lm(tmp_path, checkpoints("rope"))
    (tmp_path / "dict.txt").unlink()
    with pytest.raises(FileNotFoundError, match="has no dict.txt, so it is no data-bin"):
        eval_lm(tmp_path, checkpoints("rope"))


@pytest.mark.parametrize("content", [b"", b"text", None], ids=["empty", "text", "cut"])
def test_a_broken_checkpoint_is_not_evaluated(content, data_bin, checkpoints, tmp_path):
    whole = checkpoints("rope").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[:-1000] if content is None else content)
    with pytest.raises(ValueError, match="x.pt is no whole checkpoint"):
        eval_lm(data_bin, tmp_path / "x.pt")


def test_sigterm_outside_of_training_ends_the_process(data_bin, tmp_path):
    """As ever: the handler is for those that train."""
    train(data_bin, ARCH, tmp_path, "--max-update", "1")
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
