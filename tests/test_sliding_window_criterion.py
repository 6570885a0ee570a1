"""--criterion sliding_window with --task windowed_language_modeling, through fairseq's commands."""

import json
import math
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from command import eval_lm, fairseq, train
from fairseq.checkpoint_utils import load_model_ensemble_and_task as load
from fairseq.logging import metrics

from nopos_plugin.cli.evaluate import main as evaluate
from nopos_plugin.criterions.sliding_window import SlidingWindow
from nopos_plugin.evaluation import results

WINDOWED = ("--task", "windowed_language_modeling", "--criterion", "sliding_window")
ADAPTIVE = ("--adaptive-softmax-cutoff", "6,10", "--ddp-backend", "legacy_ddp")
FLAGS = (
    "--arch transformer_lm_alibi --tokens-per-sample 32 --max-tokens 512 --optimizer adam "
    "--lr 0.005 --max-update 8 --cpu --num-workers 0 --log-format json --log-interval 4 "
    "--validate-interval-updates 4 --decoder-layers 2 --decoder-embed-dim 32 "
    "--decoder-input-dim 32 --decoder-output-dim 32 --decoder-ffn-embed-dim 64 "
    "--decoder-attention-heads 4"
).split()


def weights(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=False)["model"]


@pytest.mark.parametrize(
    "stock, flags", [("cross_entropy", ()), ("adaptive_loss", ADAPTIVE)], ids=["full", "adaptive"]
)
def test_updates_are_those_of_the_stock_criterion(data_bin, tmp_path, stock, flags):
    train(data_bin, "transformer_lm_rope", tmp_path / "a", "--criterion", stock, *flags)
    train(data_bin, "transformer_lm_rope", tmp_path / "b", *WINDOWED, *flags)
    theirs, ours = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def series(output):
    """{subset: [loss in bits]} from a log with --log-format json."""
    found = {}
    for subset, text in re.findall(r"\| INFO \| (valid\S*) \| (\{.*\})", output):
        found.setdefault(subset, []).append(float(json.loads(text)[f"{subset}_loss"]))
    return found


def perplexity_bits(data_bin, checkpoint, window, stride):
    """Loss in bits by fairseq-eval-lm, whose windows grow to `window`."""
    flags = ("--tokens-per-sample", window, "--context-window", window - stride)
    return eval_lm(data_bin, checkpoint, *flags)["loss"]


@pytest.fixture(scope="module")
def trained(data_bin, tmp_path_factory):
    """A training with several series: the folder, and its log."""
    folder = tmp_path_factory.mktemp("series")
    subsets = "valid@24:8,valid,valid@16"
    flags = (*FLAGS, *WINDOWED, "--valid-subset", subsets, "--save-dir", folder)
    flags += ("--tensorboard-logdir", folder / "tensorboard")
    code, output = fairseq("train", data_bin, *flags)
    assert code == 0, output
    return folder, output


def test_each_window_is_a_series(trained, data_bin):
    folder, output = trained
    found = series(output)
    assert set(found) == {"valid@24:8", "valid", "valid@16"}
    assert all(len(losses) == 2 for losses in found.values())
    last = folder / "checkpoint_last.pt"
    plain = eval_lm(data_bin, last, "--tokens-per-sample", "16")["loss"]
    assert found["valid@16"][-1] == pytest.approx(float(plain), abs=1e-5)
    whole = eval_lm(data_bin, last, "--tokens-per-sample", "32")["loss"]
    assert found["valid"][-1] == pytest.approx(float(whole), abs=1e-5)
    # the first window scores all that it sees: alike from there on
    grown = float(perplexity_bits(data_bin, last, 24, 8))
    assert found["valid@24:8"][-1] == pytest.approx(grown, rel=0.01)
    assert len({round(losses[-1], 6) for losses in found.values()}) == 3


def test_the_first_series_picks_the_best_checkpoint(trained):
    folder, output = trained
    state = torch.load(folder / "checkpoint_best.pt", weights_only=False)["extra_state"]
    assert state["best"] == pytest.approx(min(series(output)["valid@24:8"]), abs=1e-5)


def test_fairseq_validate_gives_the_same(trained, data_bin):
    folder, output = trained
    code, again = fairseq(
        *("validate", data_bin, "--path", folder / "checkpoint_last.pt", "--cpu"),
        *("--task", "windowed_language_modeling"),
        *("--max-tokens", "100", "--valid-subset", "valid@24:8", "--num-workers", "0"),
        *("--log-format", "json"),
    )
    assert code == 0, again
    (loss,) = series(again)["valid@24:8"]
    assert loss == pytest.approx(series(output)["valid@24:8"][-1], abs=1e-5)


def test_each_series_is_in_tensorboard(trained):
    folder, _ = trained
    for subset in ("valid", "valid@24:8", "valid@16"):
        assert list((folder / "tensorboard" / subset).glob("events*"))


def test_two_processes_validate_to_the_number_of_one(data_bin, tmp_path):
    """955 windows of the 957 tokens: the shards are of unequal size."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    flags = ("--distributed-world-size", "2", "--distributed-init-method", address)
    flags += ("--distributed-no-spawn", "--distributed-backend", "gloo", "--ddp-backend")
    flags += ("legacy_ddp", "--valid-subset", "valid@3:1", "--save-dir", tmp_path)
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(
                *(fairseq, "train", data_bin, *FLAGS, *WINDOWED, *flags, "--distributed-rank", rank)
            )
            for rank in (0, 1)
        ]
        (code, output), (other, _) = (job.result() for job in jobs)
    assert code == other == 0, output
    status = evaluate(
        [str(data_bin), "--path", str(tmp_path / "checkpoint_last.pt"), "--lengths", "3"]
        + ["--stride", "1", "--device", "cpu", "--output", str(tmp_path / "results")]
    )
    (row,) = results.read(tmp_path / "results", results.PERPLEXITY)
    assert status == 0
    assert series(output)["valid@3:1"][-1] == pytest.approx(row["bits_per_token"], abs=1e-5)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--criterion", "sliding_window"), "needs --task windowed_language_modeling"),
        ((*WINDOWED, "--valid-subset", "valid@8:9"), "valid@8:9: stride 9 with window 8"),
        ((*WINDOWED, "--valid-subset", "valid@0"), "window 0"),
        ((*WINDOWED, "--valid-subset", "valid@x"), "write SPLIT@WINDOW:STRIDE"),
        ((*WINDOWED, "--valid-subset", "dev@8"), "there is no split dev in"),
        (
            (*WINDOWED, "--valid-subset", "valid@900:90"),
            "512 tokens a batch hold no window of 900: .* --max-tokens-valid 900",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(data_bin, tmp_path, flags, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(data_bin, "transformer_lm_alibi", tmp_path, *flags)


def test_a_perplexity_that_no_float_holds_is_infinite():
    log = [{"scored": 2, "loss": torch.tensor(4000.0, dtype=torch.float64)}]
    with metrics.aggregate() as found:
        SlidingWindow.reduce_metrics(log)
    assert found.get_smoothed_values()["ppl"] == math.inf


def test_a_loss_that_is_no_number_names_its_window(data_bin, tmp_path, caplog):
    train(data_bin, "transformer_lm_rope", tmp_path, *WINDOWED)
    (model,), _, task = load([str(tmp_path / "checkpoint_last.pt")], {"data": str(data_bin)})
    task.load_dataset("valid@24:8")
    dataset = task.dataset("valid@24:8")
    model.decoder.layers[0].fc1.bias.data[:] = torch.nan
    criterion = SlidingWindow(task, sentence_avg=False, ddp_backend="legacy_ddp").eval()
    model.eval()
    loss, count, _ = criterion(model, dataset.collater([dataset[7], dataset[5]]))
    assert loss.isnan() and count == 16
    assert "a loss of window 7 is nan" in caplog.text
    assert criterion(model, {})[1] == 0  # another process has one batch more
