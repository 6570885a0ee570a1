"""FlexAttention: its formula on a CPU, its block mask, what it refuses; on a GPU the kernel."""

import copy
import gc
import itertools
import weakref
from dataclasses import replace

import attending
import pytest
import tiny
import torch
import torch.nn.functional as F
from attending import assert_all_close, case, given_positions, ours, output, theirs
from formulas import END, FAMILIES
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode
from torch.nn.attention import flex_attention as pytorch

from nopos_plugin import positions
from nopos_plugin.attention import AttentionContext, flex, flex_mask
from nopos_plugin.attention.flex_mask import BLOCK, shared_by_layers, whole_blocks
from nopos_plugin.attention.reference import reference
from nopos_plugin.positions.alibi import Alibi

LENGTHS = (1, 2, 63, 100, 200, 300)
# PyTorch says, once, that this is slow on a CPU. Here that is the point.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture
def untraced(monkeypatch):
    """FlexAttention's formula at once: tracing it first takes most of the time."""
    monkeypatch.setattr(pytorch, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


@pytest.fixture
def fresh():
    """Nothing compiled before, nothing left behind."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def documents(tensors):
    """The tensors of `case` with documents of several lengths in their tokens."""
    tokens = tensors[0].clone()
    for row, step in enumerate((70, 130, 9)):
        tokens[row, step // 2 :: step] = END
    return tokens, *tensors[1:]


def layouts(name, length):
    """Pads of the tokens, and the options of `output`."""
    new = 1 + length // 3
    yield "none", {}
    yield "left", {"window": 50}
    yield "both", {"new": new}
    yield "none", {"documents": True}
    yield "right", {"documents": True, "window": 140, "new": new}
    if positions.get(name).accepts_given:
        yield "none", {"given": given_positions("chunks", 3, length)}
        yield "left", {"given": given_positions("shuffled", 3, length), "new": new}


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", positions.names())
def test_formula_is_the_reference(name, length):
    encoding = tiny.encoding(name, num_heads=3, head_dim=8, max_length=5000)
    for side, options in layouts(name, length):
        tensors = documents(case(3, length, side, seed=length))
        with torch.no_grad():
            expected = output(encoding, "reference", *tensors, **options)
            tiny.assert_close(output(encoding, "flex", *tensors, **options), expected, 5e-6)


@pytest.mark.parametrize("name", positions.names())
def test_traced_formula_is_the_reference(name):
    """As PyTorch traces it before it compiles; float16 and autocast, too."""
    encoding = tiny.encoding(name, num_heads=3, head_dim=8)
    tensors = case(3, 63, "both")
    leaves = (tensors[0], *(x.requires_grad_() for x in tensors[1:]))  # which nobody asks about
    half = (tensors[0], *(x.detach().half() for x in tensors[1:]))
    with torch.no_grad():
        expected = output(encoding, "reference", *leaves)
        tiny.assert_close(output(encoding, "flex", *leaves), expected, 5e-6)
        with torch.autocast("cpu", torch.bfloat16):
            tiny.assert_close(output(encoding, "flex", *leaves), expected, 5e-6)
        out = output(encoding, "flex", *half)
        assert out.dtype == torch.half
        tiny.assert_close(out, output(encoding, "reference", *half), 2e-3)


def test_slopes_stand_for_a_bias_that_is_linear_and_without_parameters():
    class Bent(Alibi):
        def bias(self, head, distance, layer):
            return super().bias(head, distance.clamp(max=100_000), layer)

    order = torch.arange(9).unsqueeze(0)
    bent = Bent(Alibi.Config(), tiny.shape(num_heads=3))
    for encoding, slopes in (
        (tiny.encoding("alibi", num_heads=3), [-(2.0**-4), -(2.0**-8), -(2.0**-2)]),
        (tiny.encoding("bipe_alibi", num_heads=3), None),
        (tiny.encoding("kerple_power", "init=alibi", num_heads=3), None),
        (bent, None),
    ):
        found = flex.slopes_of(AttentionContext(encoding, order, order, consecutive=True), 0)
        assert found is slopes if slopes is None else found.tolist() == slopes


def block_lists(mask):
    """(visited, full), each (B, blocks of queries, blocks of keys) bool, from a BlockMask."""

    def listed(count, indices):
        made = torch.zeros(indices.shape, dtype=torch.bool)
        for place in itertools.product(*map(range, count.shape)):
            made[place][indices[place][: count[place]].long()] = True
        return made[:, 0]

    full = listed(mask.full_kv_num_blocks, mask.full_kv_indices)
    partial = listed(mask.kv_num_blocks, mask.kv_indices)
    assert not (partial & full).any()
    return partial | full, full


def blocks_of(hidden):
    """The same from (B, T, S) bool, True where a query may not see a key; beyond S is no key."""
    rows, keys = (whole_blocks(n) for n in hidden.shape[1:])
    hidden = F.pad(
        hidden[:, torch.arange(rows).clamp(max=hidden.size(1) - 1)],
        (0, keys - hidden.size(2)),
        value=True,
    )
    cells = hidden.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    return ~cells.all(4).all(2), ~cells.any(4).any(2)


def contexts(queries, keys):
    """The last `queries` of `keys` keys under all kinds of mask, without pads."""
    draw = torch.Generator().manual_seed(keys)
    order = torch.arange(keys).unsqueeze(0)
    own = order[:, keys - queries :]
    starts = torch.rand(2, keys, generator=draw) < 3 / keys
    first = torch.where(starts, order, 0).cummax(1).values[:, keys - queries :]
    for window, first_key in itertools.product((None, 1, 2, 128, 129, 256, 400), (None, first)):
        yield AttentionContext(
            tiny.encoding("nopos"), own, order, True, window=window, first_key=first_key
        )


@pytest.mark.parametrize("queries", [1, 2, 127, 128, 129, 300, 513])
def test_blocks_are_those_of_the_dense_mask(queries):
    for cached in (0, 1, 130):
        for context in contexts(queries, queries + cached):
            visited, full = block_lists(shared_by_layers(context, 2).block_mask)
            expected_visited, expected_full = blocks_of(context.hidden()[:, 0])
            assert torch.equal(visited, expected_visited)
            assert torch.equal(full, expected_full)


def test_pads_leave_no_block_unmasked():
    for context in contexts(300, 300):
        padded = replace(context, key_pads=torch.rand(2, 300) < 0.3)
        visited, full = block_lists(shared_by_layers(padded, 2).block_mask)
        assert not full.any()
        expected = block_lists(shared_by_layers(context, 2).block_mask)[0]
        assert torch.equal(visited, expected)


@pytest.mark.parametrize("options", [{}, {"window": 2000}, {"documents": True}, {"pads": True}])
def test_block_mask_of_65536_is_small(options):
    length = 65536
    order = torch.arange(length).unsqueeze(0)
    context = AttentionContext(
        tiny.encoding("nopos"), order, order, True, window=options.get("window")
    )
    if "documents" in options:
        context = replace(context, first_key=order // 3000 * 3000)
    if "pads" in options:
        context = replace(context, key_pads=order < 100)
    with attending.Products() as made:
        mask = shared_by_layers(context, 1).block_mask
    assert mask.seq_lengths == (length, length)
    assert made.largest <= 4 * 2**20  # bytes; a (T, T) mask has 2^32


def test_layers_share_what_goes_with_the_forward(monkeypatch):
    made = []

    class Noted(flex_mask.Shared):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(weakref.ref(self))

    monkeypatch.setattr(flex_mask, "Shared", Noted)
    model = copy.deepcopy(tiny.built("kerple_log"))
    model.decoder.kernel = "flex"
    for forwards in (1, 2):
        tiny.logits(model, tiny.tokens(2, 20))
        assert len(made) == forwards
    gc.collect()
    assert all(shared() is None for shared in made)


@pytest.mark.parametrize(
    "name, most", [("nopos", 3), ("alibi", 3), ("kerple_log", 3), ("bipe_alibi", 4)]
)
def test_layers_and_lengths_compile_nothing_anew(monkeypatch, fresh, name, most):
    """One graph for the first length, one for the others, one for other numbers of rows."""
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(flex.flex_attention, fullgraph=True, backend=counter)
    monkeypatch.setattr(flex, "flex_attention", compiled)
    arguments = "per_layer=true" if name == "kerple_log" else ""
    encoding = tiny.encoding(name, arguments, num_heads=3, head_dim=8, num_layers=3)
    counts = []
    for rows, length in ((3, 300), (3, 500), (3, 1000), (2, 700), (5, 300), (3, 290)):
        tokens = tiny.tokens(rows, length)
        order = encoding.positions(tokens).order
        context = AttentionContext(encoding, order, order, name != "bipe_alibi")
        for layer in range(3):
            q, k, v = torch.randn(3, rows, 3, length, 8)
            with torch.no_grad():
                out = flex.flex(q, k, v, context, layer, 0.3, 0.0)
                expected = reference(q, k, v, context, layer, 0.3, 0.0)
            tiny.assert_close(out, expected, 5e-6)
        counts.append(counter.frame_count)
    assert counts[:2] == [1, 2]
    assert counts[-1] == counts[3] <= most


def test_says_what_it_cannot_do(monkeypatch):
    order = torch.arange(5).unsqueeze(0)
    q = torch.zeros(1, 3, 5, 8)

    def context(name, *arguments):
        encoding = tiny.encoding(name, *arguments, num_heads=3, head_dim=8)
        return AttentionContext(encoding, order, order, consecutive=True)

    learned = [context(name) for name in ("kerple_log", "kerple_power", "t5")]
    others = [context(name) for name in ("nopos", "alibi", "bipe_alibi", "rope")]
    assert flex.refusal(q, 0.1) == "it drops no attention weights, and --attention-dropout is 0.1"
    assert flex.refusal(q, 0.0) is None
    assert all(flex.refusal(q, 0.0, one) is None for one in others)
    backward = "it has no backward on a CPU"
    assert all(flex.refusal(q, 0.0, one) == backward for one in learned)
    grown = q.clone().requires_grad_()
    assert flex.refusal(grown, 0.0) == flex.refusal(q, 0.0, others=(q, grown)) == backward
    with torch.no_grad():
        assert all(flex.refusal(grown, 0.0, one) is None for one in learned)
    for inputs in ((grown, q, q), (q, grown, q), (q, q, grown)):
        with pytest.raises(ValueError) as error:
            flex.flex(*inputs, others[0], 0, 1.0, 0.0)
        assert str(error.value) == (
            "--attention-kernel flex: it has no backward on a CPU; "
            "use --attention-kernel auto or blockwise"
        )
    with pytest.raises(ValueError, match="no backward on a CPU"):
        flex.flex(q, q, q, learned[0], 0, 1.0, 0.0)
    with pytest.raises(ValueError, match="drops no attention weights"):
        flex.flex(q, q, q, others[0], 0, 1.0, 0.5)
    monkeypatch.setattr(flex, "flex_attention", None)
    assert flex.refusal(q, 0.0) == f"torch {torch.__version__} has no FlexAttention"


def test_says_what_a_gpu_cannot_do():
    def refusal(dim, dtype, *asked):
        with FakeTensorMode():  # shapes without memory, on a GPU that need not be there
            q = torch.empty(1, 3, 5, dim, dtype=dtype, device="cuda")
            return flex.refusal(q, 0.0, *asked)

    kinds = "it takes float16, bfloat16 and float32, not torch.float64"
    assert refusal(64, torch.float64) == kinds
    sizes = "it takes 16 to {} dimensions a head in {}, not {}".format
    assert refusal(8, torch.half) == sizes(128, torch.half, 8)
    assert refusal(136, torch.bfloat16) == sizes(128, torch.bfloat16, 136)
    assert refusal(96, torch.float) == sizes(64, torch.float, 96)
    if not torch.cuda.is_available():
        assert refusal(64, torch.half) == (
            "it needs triton, and a GPU of compute capability 8.0 or more"
        )


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["flex", "blockwise"])
@pytest.mark.parametrize("name", FAMILIES)
def test_gpu_values_and_gradients_are_the_formula(name, kernel):
    encoding = tiny.encoding(name, num_heads=3, head_dim=16, max_length=5000).cuda()
    for length in (1, 100, 513):
        for side, options in layouts(name, length):
            tensors = documents(case(3, length, side, seed=length, dim=16))
            expected = theirs(copy.deepcopy(encoding).cpu(), *tensors, **options)
            if "given" in options:
                options = {**options, "given": options["given"].cuda()}
            actual = ours(encoding, kernel, *(x.cuda() for x in tensors), **options)
            assert_all_close([x.cpu() for x in actual], expected, 1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["alibi", "kerple_log", "t5", "bipe_alibi"])
def test_gpu_bfloat16_has_a_float32_bias(name):
    """Far keys have biases that bfloat16 would round by whole units."""
    encoding = tiny.encoding(name, num_heads=4, head_dim=64).cuda()
    tokens, *inputs = case(4, 3000, "none", dim=64)
    rounded = [x.bfloat16().float() for x in inputs]
    expected = theirs(copy.deepcopy(encoding).cpu(), tokens, *rounded)
    actual = ours(encoding, "flex", tokens.cuda(), *(x.cuda().bfloat16() for x in inputs))
    assert actual[0].dtype == torch.bfloat16
    assert_all_close([x.float().cpu() for x in actual], expected, 2e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["alibi", "kerple_log", "t5", "bipe_alibi"])
def test_gpu_memory_of_65536_is_linear(name):
    encoding = tiny.encoding(name, num_heads=12, head_dim=64).cuda()
    tokens = tiny.tokens(1, 65536).cuda()
    q, k, v = (
        torch.randn(1, 12, 65536, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        for _ in range(3)
    )
    torch.cuda.reset_peak_memory_stats()
    output(encoding, "flex", tokens, q, k, v).sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))
    assert torch.cuda.max_memory_allocated() < 16 * 12 * 65536 * 64 * 4  # bytes; scores have 200 GB
