"""Half precision: numbers that stay float32, and fairseq-train under every flag for it."""

import copy
import json
from types import SimpleNamespace

import formulas
import pytest
import tiny
import torch
from command import train
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.models.distributed_fairseq_model import LegacyDistributedDataParallel
from fairseq.trainer import Trainer

from nopos_plugin import positions
from nopos_plugin.positions.registry import get

NAMES = positions.names()
every_encoding = pytest.mark.parametrize("name", NAMES)
every_dtype = pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16], ids=["half", "bf16"])
FAR = 2**20  # tokens; bfloat16 ends counting at 2^8, float16 at 2^11, and has no number above 2^16

# The flags, and the loss scale that must stay (None: it has none).
PRECISIONS = {
    "fp16": (("--fp16", "--fp16-no-flatten-grads"), "128"),
    "memory-efficient-fp16": (("--memory-efficient-fp16",), "128"),
    "bf16": (("--bf16",), None),
    "memory-efficient-bf16": (("--memory-efficient-bf16",), None),
}
# On a CPU --amp switches itself off, with a warning: that is float32.
ON_CPU = {**PRECISIONS, "amp": (("--amp",), "1")}
ON_GPU = {**PRECISIONS, "fp16-flattened": (("--fp16",), "128"), "amp": (("--amp",), "128")}
# Of losses in bits, means of 25 updates. Two seeds in float32 are 0.01 to 0.03 apart.
NOISE = 0.02


@every_dtype
@every_encoding
def test_biases_are_float32_of_exact_distances(name, dtype):
    encoding = tiny.encoding(name).to(dtype)
    if encoding.bias is None:
        assert name not in formulas.BIASES
        return
    distance = torch.cat([torch.arange(3000), FAR - torch.arange(4)])
    head = torch.arange(encoding.shape.num_heads)
    bias = encoding.bias(head.unsqueeze(1), distance, 0)
    assert bias.dtype == torch.float32
    weights = {key: p.detach().double() for key, p in encoding.named_parameters()}
    exact = formulas.BIASES[name](weights, distance.double()[None, None, None], len(head))
    torch.testing.assert_close(bias.double(), exact.reshape(bias.shape), rtol=1e-5, atol=1e-6)
    if encoding.float32_parameters:
        bias.sum().backward()
        assert all(p.grad.dtype == torch.float32 for p in encoding.parameters())
        assert all(p.grad.isfinite().all() and p.grad.any() for p in encoding.parameters())


@every_dtype
@every_encoding
def test_angles_are_float32_of_exact_positions(name, dtype):
    encoding = tiny.encoding(name).to(dtype)
    order = torch.cat([torch.arange(3000), FAR - torch.arange(4)]).unsqueeze(0)
    rotation = encoding.rotation(order, order)
    if "rope" not in name:
        assert rotation is None
        return
    angles = order.double()[:, None, :, None] * 10000.0 ** (-torch.arange(4).double() / 4)
    for found, exact in zip(rotation, (angles.cos(), angles.sin()), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-7)


@every_dtype
@every_encoding
def test_far_tokens_give_finite_losses_and_gradients(name, dtype):
    """Of two clusters of tokens, FAR apart where a task may say so; of 2,100 segments for BiPE."""
    model = copy.deepcopy(tiny.built(name)).train()
    encoding, given = model.decoder.encoding, None
    tokens = tiny.tokens(2, 64)
    if name.startswith("bipe"):
        tokens = torch.where(torch.arange(2120) < 2100, 4, tiny.tokens(1, 2120))
    elif encoding.accepts_given and encoding.max_positions is None:
        given = torch.arange(64).expand(2, 64) + FAR * (torch.arange(64) > 40)
    if name == "kerple_power":  # the steepest: d^2 is 2^40 here
        encoding.set_kernel(torch.ones(4), torch.full((4,), 2.0))
    model.to(dtype)
    logits = model(tokens, positions=given)[0]
    assert logits.dtype == dtype and logits.isfinite().all()
    (128 * logits.float().logsumexp(-1).mean()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_does_not_ask_for_a_tpu():
    for flags in (("--bf16",), ("--memory-efficient-bf16",)):
        cfg = tiny.config("transformer_lm_nopos", *flags)
        assert cfg.common.bf16 and not cfg.common.tpu and not cfg.model.tpu
        assert not cfg.distributed_training.tpu and not cfg.task.tpu
        assert tiny.config("transformer_lm_nopos", *flags, "--tpu").common.tpu
    assert not tiny.config("transformer_lm_nopos").common.tpu
    assert tiny.config("transformer_lm_nopos", "--tpu").common.tpu


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_memory_efficiency_alone_is_refused(kind):
    """As hydra leaves it: the command line sets both."""
    cfg = tiny.config("transformer_lm_nopos")
    cfg.common[f"memory_efficient_{kind}"] = True
    with pytest.raises(ValueError, match=f"float32: give common.{kind}=true as well"):
        Trainer(cfg, None, None, None)


def reduce(rank, folder):
    """Save what one of two processes makes of its gradients, with a large and a small buffer."""
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", store, rank=rank, world_size=2)
    for buffer_size in (2**28, 3):
        module = torch.nn.ParameterDict(
            {
                "first": torch.zeros(3, dtype=torch.half),
                "kernel": torch.zeros(2),
                "unused": torch.zeros(2, 2),
                "later": torch.zeros(2, dtype=torch.half),
                "wide": torch.zeros(1, dtype=torch.bfloat16),
            }
        )
        module["first"].grad = torch.full((3,), 1.0 + rank, dtype=torch.half)
        if rank == 0:
            module["kernel"].grad = torch.tensor([1e5, 3e-9])
        module["later"].grad = torch.full((2,), 2.0 * rank, dtype=torch.half)
        module["wide"].grad = torch.full((1,), 1e30, dtype=torch.bfloat16)
        joined = LegacyDistributedDataParallel(module, None, buffer_size)
        with joined.no_sync():
            joined.all_reduce_grads()
        assert module["first"].grad[0] == 1 + rank and module["unused"].grad is None
        for _ in range(2):  # the second finds the same on both sides
            joined.all_reduce_grads()
        gradients = {name: p.grad for name, p in module.items()}
        torch.save(gradients, folder / f"{buffer_size}-{rank}")


def test_legacy_ddp_reduces_each_gradient_in_its_own_dtype(tmp_path):
    """A float32 gradient of 1e5 became infinite, and 3e-9 zero, next to a half first parameter."""
    torch.multiprocessing.start_processes(reduce, (tmp_path,), nprocs=2, start_method="fork")
    expected = {
        "first": torch.full((3,), 1.5, dtype=torch.half),
        "kernel": torch.tensor([1e5, 3e-9]) / 2,
        "unused": torch.zeros(2, 2),
        "later": torch.ones(2, dtype=torch.half),
        "wide": torch.full((1,), 1e30, dtype=torch.bfloat16),
    }
    for result in (f"{size}-{rank}" for size in (2**28, 3) for rank in (0, 1)):
        reduced = torch.load(tmp_path / result)
        assert reduced.keys() == expected.keys()
        for name, gradient in reduced.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=0)


def test_models_of_one_dtype_are_left_to_the_engine(monkeypatch):
    seen = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda x, **kwargs: seen.append(x.clone()))
    module = torch.nn.ParameterDict({"a": torch.ones(2), "b": torch.ones(3)})
    for p in module.values():
        p.grad = torch.full_like(p, 6.0)
    joined = LegacyDistributedDataParallel(module, None)
    joined.all_reduce_grads()
    (buffer,) = seen
    assert buffer.tolist() == [6.0] * 5 and joined.buffer.numel() == 5


def adaptive_loss(model, dtype, forward):
    """(loss, gradients) of tokens that two of the three clusters of `model` hold."""
    model, words = copy.deepcopy(model).to(dtype), tiny.dictionary()
    tokens = tiny.tokens(16, 64).clamp(max=39)
    tokens[0, 60:] = words.pad()
    sample = {"net_input": {"src_tokens": tokens}, "target": tokens}
    criterion = AdaptiveLoss(SimpleNamespace(target_dictionary=words), False)
    loss, size, logged = forward(criterion, model, sample)
    loss.backward()
    assert size == logged["ntokens"] == logged["sample_size"] == 16 * 64 - 4
    assert torch.equal(logged["loss"], loss.detach()) and logged["nsentences"] == 16
    return loss.detach(), {key: p.grad for key, p in model.named_parameters()}


def test_an_adaptive_loss_is_summed_in_float32():
    stock, ours = AdaptiveLoss.forward.__wrapped__, AdaptiveLoss.forward
    flags = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "20,40")
    model = tiny.model("transformer_lm_kerple_log", *flags)
    for p in model.decoder.adaptive_softmax.parameters():
        p.data *= 20  # some hundred nats a token
    exact, gradients = adaptive_loss(model, torch.float32, stock)
    found, same = adaptive_loss(model, torch.float32, ours)
    assert torch.equal(found, exact) and 2**16 < exact < 2**20
    for key, gradient in gradients.items():
        assert gradient is same[key] is None or torch.equal(gradient, same[key])
    assert adaptive_loss(model, torch.half, stock)[0].isinf()
    for dtype in (torch.half, torch.bfloat16):
        loss, _ = adaptive_loss(model, dtype, ours)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact, rtol=1e-2, atol=0)


def test_an_adaptive_loss_without_clusters_is_refused(data_bin, tmp_path):
    with pytest.raises(ValueError, match="adaptive_loss needs --adaptive-softmax-cutoff"):
        flags = ("--criterion", "adaptive_loss", "--ddp-backend", "legacy_ddp")
        train(data_bin, "transformer_lm_nopos", tmp_path, *flags)


def curve(caplog, data, name, folder, *flags, **device):
    """(losses in bits by update, every loss scale that was logged) of fairseq-train."""
    caplog.clear()
    typed = ("--log-interval", "1", "--log-format", "json", "--dropout", "0", *flags)
    train(data, f"transformer_lm_{name}", folder, *typed, **device)
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "train_inner"]
    losses = torch.tensor([float(line["loss"]) for line in lines])
    return losses, {line.get("loss_scale") for line in lines}


@every_encoding
def test_half_precision_trains_on_a_cpu(name, data_bin, tmp_path, caplog):
    flags = ("--max-update", "4", "--disable-validation", "--no-save-optimizer-state")
    exact, _ = curve(caplog, data_bin, name, tmp_path / "float32", *flags)
    assert exact[-1] < exact[0] - 0.3
    for precision in ("memory-efficient-fp16", "bf16"):
        (typed, scale), folder = ON_CPU[precision], tmp_path / precision
        losses, scales = curve(caplog, data_bin, name, folder, *flags, *typed)
        assert scales == {scale}
        torch.testing.assert_close(losses, exact, rtol=0, atol=NOISE, msg=precision)
        saved = torch.load(folder / "checkpoint_last.pt")["model"]
        assert all(p.isfinite().all() for p in saved.values())
        kept = {p.dtype for key, p in saved.items() if key.startswith("decoder.encoding.")}
        if get(name).float32_parameters:
            assert kept == {torch.float32}


def test_flattened_fp16_on_a_cpu_says_what_to_do(data_bin, tmp_path):
    with pytest.raises(ValueError, match="--fp16 alone needs a GPU.*--fp16-no-flatten-grads"):
        train(data_bin, "transformer_lm_alibi", tmp_path, "--fp16")


def compare_curves(caplog, data, name, folder, precisions, **device):
    """200 updates of each precision are within noise of float32, and the loss scale stays."""
    flags = ("--max-update", "200", "--disable-validation", "--no-save")
    exact, _ = curve(caplog, data, name, folder, *flags, **device)
    assert len(exact) == 200 and exact[-25:].mean() < exact[:25].mean() - 0.1
    for precision, (typed, scale) in precisions.items():
        losses, scales = curve(caplog, data, name, folder, *flags, *typed, **device)
        assert scales == {scale}, precision
        off = (losses - exact).unfold(0, 25, 25).mean(1).abs().max()
        assert off < NOISE, (precision, off)


@pytest.mark.slow
@every_encoding
def test_curves_of_every_precision_on_a_cpu(name, data_bin, tmp_path, caplog):
    compare_curves(caplog, data_bin, name, tmp_path, ON_CPU)


@pytest.mark.gpu
@pytest.mark.slow
@every_encoding
def test_curves_of_every_precision_on_a_gpu(name, data_bin, tmp_path, caplog):
    compare_curves(caplog, data_bin, name, tmp_path, ON_GPU, cpu=False)
