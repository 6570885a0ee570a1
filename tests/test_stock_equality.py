"""What stock fairseq has too is the same here, bit by bit: logits, updates, checkpoints, flags."""

import pytest
import tiny
import torch
from command import eval_lm, train

STOCK = {
    "learned": ["--decoder-learned-pos"],
    "sinusoidal": [],
    "nopos": ["--no-token-positional-embeddings"],
}


@pytest.mark.parametrize("encoding", STOCK)
@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--decoder-normalize-before"],
        ["--share-decoder-input-output-embed", "--layernorm-embedding"],
        [
            "--adaptive-input",
            "--adaptive-input-cutoff",
            "10,30",
            "--adaptive-softmax-cutoff",
            "10,30",
        ],
        ["--quant-noise-pq", "0.1", "--character-embeddings"],
    ],
    ids=lambda flags: flags[0] if flags else "plain",
)
def test_logits_equal_the_stock_models_under_its_weights(encoding, flags):
    stock = tiny.model("transformer_lm", *STOCK[encoding], *flags, seed=1)
    ours = tiny.model(f"transformer_lm_{encoding}", *flags, seed=2)
    ours.load_state_dict(stock.state_dict())
    for length in (1, 2, 63, 64):
        tokens = tiny.tokens(3, length, seed=length)
        assert torch.equal(ours(tokens)[0], stock(tokens)[0])


@pytest.mark.parametrize("encoding", STOCK)
def test_padded_rows_equal_the_stock_models(encoding):
    stock = tiny.model("transformer_lm", *STOCK[encoding])
    ours = tiny.model(f"transformer_lm_{encoding}", seed=2)
    ours.load_state_dict(stock.state_dict())
    tokens = tiny.tokens(3, 20)
    tokens[0, 12:] = 1
    real = tokens.ne(1)
    assert torch.equal(ours(tokens)[0][real], stock(tokens)[0][real])


def test_gradients_equal_the_stock_models():
    stock = tiny.model("transformer_lm", "--decoder-learned-pos")
    ours = tiny.model("transformer_lm_learned", seed=2)
    ours.load_state_dict(stock.state_dict())
    tokens = tiny.tokens(3, 50)
    for model in (stock, ours):
        model(tokens)[0].logsumexp(-1).sum().backward()
    theirs = stock.decoder.embed_positions.weight.grad
    assert torch.equal(ours.decoder.encoding.weight.grad, theirs)
    theirs = {name: p.grad for name, p in stock.named_parameters() if "embed_positions" not in name}
    for name, parameter in ours.named_parameters():
        if "encoding" not in name:
            torch.testing.assert_close(parameter.grad, theirs[name], rtol=1e-6, atol=1e-7)


def test_a_stock_checkpoint_evaluates_the_same_under_our_arch(data_bin, tmp_path):
    train(data_bin, "transformer_lm", tmp_path)
    path = tmp_path / "checkpoint_best.pt"
    stock = eval_lm(data_bin, path, "--tokens-per-sample", "32")
    override = ("--model-overrides", "{'_name': 'transformer_lm_sinusoidal'}")
    assert eval_lm(data_bin, path, "--tokens-per-sample", "32", *override) == stock
    train(data_bin, "transformer_lm_sinusoidal", tmp_path / "tuned", "--finetune-from-model", path)
    assert eval_lm(data_bin, tmp_path / "tuned" / "checkpoint_best.pt")["loss"] < stock["loss"] + 1


@pytest.mark.parametrize("encoding", ["sinusoidal", "nopos"])
def test_what_a_stock_checkpoint_does_not_say_is_said_to_be_assumed(encoding, caplog):
    stock = tiny.model("transformer_lm", *STOCK[encoding])
    stock_state = {k: v for k, v in stock.state_dict().items() if "_float_tensor" not in k}
    tiny.model(f"transformer_lm_{encoding}", seed=2).load_state_dict(stock_state)
    assert f"sinusoidal or nopos positions: taken as {encoding}" in caplog.text


@pytest.mark.parametrize(
    "found, encoding", [("learned", "alibi"), ("nopos", "rope"), ("nopos", "learned")]
)
def test_a_stock_checkpoint_is_refused_by_an_encoding_it_cannot_have(found, encoding):
    stock = tiny.model("transformer_lm", *STOCK[found])
    ours = tiny.model(f"transformer_lm_{encoding}")
    with pytest.raises(ValueError, match=f"with .*{found} positions does not fit .* {encoding}"):
        ours.load_state_dict(stock.state_dict())


def test_stock_architectures_keep_their_meaning():
    model = tiny.model("transformer_lm_gpt3_small", decoder_input_dim=None, decoder_output_dim=None)
    assert type(model).__name__ == "TransformerLanguageModel"
    assert model.decoder.embed_positions.weight.shape == (66, 48)
