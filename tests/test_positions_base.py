"""What all encodings share: counting positions, and what of them a checkpoint keeps."""

import copy
import io
import logging
import pickle

import pytest
import tiny
import torch
from tiny import built, logits

from nopos_plugin import positions
from nopos_plugin.positions.constants import constant

PAD = 1
NAMES = positions.names()
every_encoding = pytest.mark.parametrize("name", NAMES)


def test_positions_count_the_tokens_that_are_no_pads():
    encoding = tiny.encoding("alibi")
    tokens = torch.tensor([[5, 6, 7, 8], [PAD, PAD, 5, 6], [5, 6, PAD, PAD]])
    placed = encoding.positions(tokens)
    assert placed.within.tolist() == [[0, 1, 2, 3], [-1, -1, 0, 1], [0, 1, -1, -1]]
    assert placed.order.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert placed.order.dtype == placed.within.dtype == torch.int64 and not placed.consecutive


@pytest.mark.parametrize("length", [1, 2, 63, 100])
def test_positions_without_pads_are_consecutive(length):
    placed = tiny.encoding("alibi").positions(tiny.tokens(3, length))
    assert placed.consecutive
    assert placed.order.tolist() == placed.within.tolist() == [list(range(length))]


def test_given_positions_are_taken_as_they_are():
    given = torch.tensor([[0, 1, 70, 71], [5, 6, 7, 900]])
    placed = tiny.encoding("alibi").positions(tiny.tokens(2, 4), given)
    assert torch.equal(placed.order, given) and torch.equal(placed.within, given)
    assert not placed.consecutive


def test_the_base_class_is_nopos():
    encoding = tiny.encoding("nopos")
    x = torch.randn(2, 5, 32)
    q, k = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    placed = encoding.positions(tiny.tokens(2, 5))
    assert torch.equal(encoding.embed(x, placed), x)
    turned = encoding.rotate(q, k, encoding.rotation(placed.order, placed.order))
    assert torch.equal(turned[0], q) and torch.equal(turned[1], k)
    assert encoding.bias is None and encoding.logit_scale == 1 and not list(encoding.parameters())


def test_constants_made_in_inference_mode_serve_a_later_backward():
    constant.cache_clear()
    with torch.inference_mode():
        made = constant((2.0, 3.0), torch.float, torch.device("cpu"))
    weight = torch.ones(2, requires_grad=True)
    (weight * constant((2.0, 3.0), torch.float, torch.device("cpu"))).sum().backward()
    assert torch.equal(weight.grad, torch.tensor([2.0, 3.0]))
    assert made is constant((2.0, 3.0), torch.float, torch.device("cpu"))


def text_of(state):
    return bytes(state["_extra_state"].int().tolist()).decode()


def test_checkpoints_carry_name_and_all_options():
    assert text_of(tiny.encoding("nopos").state_dict()) == "nopos  parameters=0"
    assert text_of(tiny.encoding("rope", "theta=5e5").state_dict()) == (
        "rope theta=500000.0,fraction=1.0,layout=half parameters=0"
    )
    told = tiny.encoding("bipe_rope", separators=("w7", ".")).state_dict()
    assert "separators=w7|.,inner=learned" in text_of(told)


def test_another_encoding_is_refused_by_both_names():
    state = tiny.encoding("kerple_log").state_dict()  # the same parameters, another meaning
    with pytest.raises(ValueError) as error:
        tiny.encoding("kerple_power").load_state_dict(state)
    assert "--position-encoding kerple_log" in str(error.value)
    assert "--position-encoding kerple_power" in str(error.value)


@pytest.mark.parametrize(
    "name, then, now, changed",
    [
        ("t5", "buckets=16", "buckets=32", "buckets=32 (trained: 16)"),
        ("kerple_log", "", "per_layer=true", "per_layer=true (trained: false)"),
        ("bipe_rope", "size=9", "size=8", "size=8 (trained: 9)"),
        ("bipe_rope", "inner=sinusoidal", "", "inner=learned (trained: sinusoidal)"),
        ("bipe_rope", "", "inner=sinusoidal", "inner=sinusoidal (trained: learned)"),
    ],
)
def test_options_that_change_parameters_are_refused(name, then, now, changed):
    state = tiny.encoding(name, then).state_dict()
    with pytest.raises(ValueError, match="the model wants parameters") as error:
        tiny.encoding(name, now).load_state_dict(state)
    assert f"--position-args {changed}" in str(error.value)


@pytest.mark.parametrize(
    "name, then, now, changed",
    [
        ("rope", "", "theta=20000", "theta=20000.0 (trained: 10000.0)"),
        ("alibi", "", "slopes=nopos_fork", "slopes=nopos_fork (trained: standard)"),
        ("t5", "", "max_distance=512", "max_distance=512 (trained: 128)"),
    ],
)
def test_options_that_keep_parameters_are_taken_and_told(name, then, now, changed, caplog):
    old, new = tiny.encoding(name, then), tiny.encoding(name, now, seed=2)
    with caplog.at_level(logging.WARNING):
        new.load_state_dict(old.state_dict())
    assert changed in caplog.text
    for key, value in old.named_parameters():
        assert torch.equal(value, new.get_parameter(key))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        tiny.encoding(name, then, seed=3).load_state_dict(old.state_dict())
    assert not caplog.text


@every_encoding
def test_encoding_is_one_module_stored_once(name):
    model = built(name)
    encoding = model.decoder.encoding
    modules = model.named_modules(remove_duplicate=False)
    found = [key for key, module in modules if isinstance(module, positions.PositionEncoding)]
    assert found == ["decoder.encoding"] and type(encoding) is positions.get(name)
    own = {f"decoder.encoding.{key}" for key, _ in encoding.named_parameters()}
    stock = {key for key in built("nopos").state_dict() if not key.startswith("decoder.encoding.")}
    assert set(model.state_dict()) == stock | own | {"decoder.encoding._extra_state"}
    assert not list(encoding.buffers())


@every_encoding
@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_models_keep_what_must_be_float32(name, dtype):
    model = copy.deepcopy(built(name)).to(dtype)
    kept = torch.float32 if model.decoder.encoding.float32_parameters else dtype
    for key, parameter in model.named_parameters():
        assert parameter.dtype == (kept if ".encoding." in key else dtype)
    tokens = tiny.left_padded(tiny.tokens(2, 50), (0, 3))
    made = logits(model, tokens)
    assert made.dtype == dtype
    # logits of about 4, through two layers of rounding
    tiny.assert_close(made, logits(built(name), tokens), 0.02 if dtype == torch.half else 0.1)


@every_encoding
def test_copies_and_pickles_are_the_same_model(name):
    tokens = tiny.tokens(2, 20)
    expected = logits(built(name), tokens)
    for again in (copy.deepcopy(built(name)), pickle.loads(pickle.dumps(built(name)))):
        assert torch.equal(logits(again, tokens), expected)
        own = {p.data_ptr() for p in again.parameters()}
        assert not own & {p.data_ptr() for p in built(name).parameters()}


@every_encoding
def test_checkpoints_return_and_other_encodings_are_refused(name):
    file = io.BytesIO()
    torch.save(built(name).state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    model = tiny.model(f"transformer_lm_{name}", seed=2)
    tokens = tiny.tokens(2, 20)
    assert not torch.equal(logits(model, tokens), logits(built(name), tokens))
    model.load_state_dict(state)
    assert torch.equal(logits(model, tokens), logits(built(name), tokens))
    other = NAMES[NAMES.index(name) - 1]
    with pytest.raises(ValueError) as error:
        model.load_state_dict(built(other).state_dict())
    assert f"--position-encoding {name}" in str(error.value)
    assert f"--position-encoding {other}" in str(error.value)


def test_left_pads_do_not_use_up_a_learned_table():
    encoding = tiny.encoding("learned", max_length=4)
    tokens = torch.tensor([[1, 1, 5, 6, 7, 8]])
    assert encoding.positions(tokens).within.tolist() == [[-1, -1, 0, 1, 2, 3]]
    with pytest.raises(ValueError, match="ends at 4 tokens, and a sequence has 5"):
        encoding.positions(torch.tensor([[1, 5, 6, 7, 8, 9]]))
