"""What training logs: event files with our series, lines of JSON, no warnings that are not ours."""

import json
import re
import struct
import warnings
from types import SimpleNamespace

import forked
import pytest
import tiny
import torch
from command import SIZE, TRAINING, fairseq, train
from fairseq.dataclass import utils
from fairseq.logging import progress_bar
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from nopos_plugin import positions
from nopos_plugin.engine import noise

KERNELS = ("kerple_log", "kerple_power")


def events(folder):
    """{(run, series): [(step, value), ...]} of the event files in `folder`."""
    found = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        for event in map(Event.FromString, records(path.read_bytes())):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    series = found.setdefault((path.parent.name, value.tag), [])
                    series.append((event.step, value.simple_value))
    return found


def records(content):
    """Of a TFRecord file: length, its check sum, the record, its check sum."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        record, content = content[12 : 12 + length], content[12 + length :]
        (checksum,) = struct.unpack("<I", content[:4])
        crc = crc32c(record)
        assert checksum == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
        yield record
        content = content[4:]


def logged(encoding, data, folder, *flags):
    run = (data, f"transformer_lm_{encoding}", folder / "model", "--max-update", "4", *flags)
    train(*run, "--validate-interval-updates", "2", "--tensorboard-logdir", folder / "events")
    progress_bar._close_writers()  # as at the end of a process
    return events(folder / "events"), torch.load(folder / "model" / "checkpoint_last.pt")["model"]


@pytest.mark.parametrize("encoding", KERNELS)
def test_kernels_are_series_by_head(encoding, data_bin, tmp_path, caplog):
    found, trained = logged(encoding, data_bin, tmp_path)
    learned = {name: series for (run, name), series in found.items() if run == "position_encoding"}
    heads = range(4)
    assert set(learned) == {
        f"{name}/head{head}" for name in ("r1", "r2", "effective_length") for head in heads
    }
    assert all([step for step, _ in series] == [2, 4] for series in learned.values())
    prefix = "decoder.encoding.raw_"
    r1 = torch.nn.functional.softplus(trained[f"{prefix}r1"])
    raw = trained[f"{prefix}r2"]
    r2 = torch.nn.functional.softplus(raw) if encoding == "kerple_log" else 2 * torch.sigmoid(raw)
    for name, values in (("r1", r1), ("r2", r2)):
        last = torch.tensor([learned[f"{name}/head{head}"][-1][1] for head in heads])
        torch.testing.assert_close(last, values)
        first = torch.tensor([learned[f"{name}/head{head}"][0][1] for head in heads])
        assert (first != last).all()
    assert "effective_length" not in caplog.text and "head0" not in caplog.text


def test_buckets_are_series_by_head_for_every_criterion(data_bin, tmp_path):
    """The last is adaptive_loss, and perplexity by length is a run of its own."""
    windows = ("--task", "windowed_language_modeling", "--criterion", "sliding_window")
    lengths = ("--valid-subset", "valid,valid@64:16", "--max-tokens-valid", "1024")
    found, trained = logged("t5", data_bin, tmp_path / "a", *windows, *lengths)
    starts = (*range(17), 19, 21, 24)  # 16 (8 ^ (i / 16)), rounded up
    table = trained["decoder.encoding.weight"]
    for bucket, start in enumerate(starts):
        for head in range(4):
            series = found["position_encoding", f"bias_from_{start}/head{head}"]
            assert [step for step, _ in series] == [2, 4]
            assert series[-1][1] == pytest.approx(table[bucket, head].item())
    assert sum(run == "position_encoding" for run, _ in found) == 32 * 4
    for run in ("valid", "valid@64:16"):
        loss, perplexity = found[run, "loss"], found[run, "ppl"]
        assert [step for step, _ in perplexity] == [2, 4]
        assert [2**bits for _, bits in loss] == pytest.approx([x for _, x in perplexity], rel=1e-2)
    assert found["valid", "ppl"] != found["valid@64:16", "ppl"]

    adaptive = "--adaptive-softmax-cutoff 5,9 --criterion adaptive_loss".split()
    found, _ = logged("t5", data_bin, tmp_path / "b", *adaptive, "--ddp-backend", "legacy_ddp")
    assert sum(run == "position_encoding" for run, _ in found) == 32 * 4


def test_the_first_of_two_processes_writes(data_bin, tmp_path):
    both = forked.start_two(
        *(tmp_path, data_bin, "transformer_lm_kerple_log", tmp_path / "model"),
        *("--max-update", "2", "--tensorboard-logdir", tmp_path / "events"),
    )
    assert forked.wait(*both) == [0, 0]
    series = events(tmp_path / "events")["position_encoding", "r1/head3"]
    assert [step for step, _ in series] == [2]


def test_nothing_learned_is_no_series(data_bin, tmp_path):
    found, _ = logged("alibi", data_bin, tmp_path)
    assert {run for run, _ in found} == {"train", "train_inner", "valid"}


@pytest.mark.parametrize("name", KERNELS)
def test_effective_length_is_the_first_distance_below_minus_two(name):
    encoding = tiny.encoding(name, num_heads=6)
    r1 = torch.tensor([0.2, 0.5, 1.0, 1.5, 2.0, 1e-3])
    r2 = torch.tensor([0.9, 1.0, 0.5, 1.2, 1.9, 0.1])
    encoding.set_kernel(r1, r2)
    r1, r2 = r1.double(), r2.double()
    at = torch.expm1(2 / r1) / r2 if name == "kerple_log" else (2 / r1) ** (1 / r2)
    lengths = encoding.learned()["effective_length"]
    assert lengths[:-1].tolist() == (at[:-1].floor() + 1).tolist()
    assert at[-1] > lengths[-1] == 2**20  # none up to there


def test_layers_of_their_own_are_series_of_their_own():
    names = set(tiny.encoding("kerple_log", "per_layer=true").learned())
    kinds = ("r1", "r2", "effective_length")
    assert names == {f"layer{layer}_{kind}" for layer in range(2) for kind in kinds}


@pytest.mark.parametrize("name", positions.names())
def test_what_is_learned_is_a_number_a_head(name):
    for values in tiny.encoding(name).learned().values():
        assert values.shape == (4,) and values.dtype.is_floating_point and values.isfinite().all()


def test_lines_are_json_and_no_deprecation_is_printed(data_bin, tmp_path):
    """A real start, with everything that it prints."""
    code, output = fairseq(
        *("train", data_bin, "--arch", "transformer_lm_t5", *SIZE, *TRAINING),
        *("--save-dir", tmp_path, "--log-format", "json"),
    )
    assert code == 0, output
    assert not re.search("deprecated|no longer experimental|version_base", output)
    lines = re.findall(r"\| INFO \| (train_inner|train|valid) \| (.*)", output)
    assert [kind for kind, _ in lines] == ["train_inner", "train_inner", "valid", "train"]
    parsed = [json.loads(line) for _, line in lines]
    assert [row["num_updates"] for row in parsed[:2]] == ["4", "8"]
    assert 4 < float(parsed[2]["valid_ppl"]) < 20


def test_other_warnings_are_heard(monkeypatch):
    def compose(*args, **kwargs):
        warnings.warn("\nThe strict flag in the compose API is deprecated", stacklevel=1)
        warnings.warn("the strict flag of something else is deprecated", stacklevel=1)
        return args, kwargs

    fairseq = SimpleNamespace(compose=compose, initialize=utils.initialize)
    monkeypatch.setattr(noise, "utils", fairseq)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        noise.silence_deprecations()
        assert fairseq.compose("config", strict=False) == (("config",), {"strict": False})
        amp = "`torch.cuda.amp.autocast(args...)` is deprecated. Use another"
        for module in ("fairseq.tasks.fairseq_task", "fairseq.tasks.fairseq_task_of_mine", "mine"):
            warnings.warn_explicit(amp, FutureWarning, "x.py", 1, module=module)
    assert [str(one.message) for one in heard] == [
        "the strict flag of something else is deprecated",
        amp,
        amp,
    ]
