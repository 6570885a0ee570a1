"""Small models and tokenizers as transformers saves them, and what it answers."""

import json

import tiny
import tokenizers
import torch
from tokenizers import AddedToken, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig

TEXT = """The cat sat on the mat. A cat, a mat, and nothing more; that was all there was to see.
She said: "What else should a cat do?" Nobody knew.  Two spaces, and a tab:\tthen the end.
In 1984 there were 17 cats - 3 of them black - and 1,001 mats... The cat's mats, the mats' cats.
"""
ROWS = 40
LIMIT = 24  # tokens that the models were trained on
TOLERANCE = 2e-5
# Ids in an order in which fairseq's symbols are neither first nor together.
PIECES = [f"w{i}" for i in range(ROWS)]
PIECES[7], PIECES[5], PIECES[0] = "</s>", "<s>", "<unk>"
SMALL = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LIMIT,
    "bos_token_id": 5,
    "eos_token_id": 7,
}
GPT2 = {
    "vocab_size": ROWS,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": LIMIT,
    "bos_token_id": 7,
    "eos_token_id": 7,
}


def llama(**changes):
    return LlamaConfig(**{**SMALL, **changes})


def neox(**changes):
    return GPTNeoXConfig(**{**SMALL, **changes})


def gpt2(**changes):
    return GPT2Config(**{**GPT2, **changes})


def random_model(config, dtype=torch.float32):
    """A model of transformers' whose numbers are large enough for every part to be seen."""
    draw = torch.Generator().manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            drawn = torch.randn(tensor.shape, generator=draw) * (2 / tensor.size(-1)) ** 0.5
            tensor.copy_(drawn if tensor.dim() > 1 else tensor + drawn)
    return model.to(dtype)


def words(folder, pieces=PIECES):
    """A tokenizer.json of whole words in `folder`."""
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [piece for piece in pieces if piece.startswith("<")]
    made.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    made.save(str(folder / "tokenizer.json"))
    return made


def saved(tmp_path, config, **changes):
    """(a folder as transformers saves one, its config.json changed; the model as it reads that)."""
    folder = tmp_path / "source"
    random_model(config).save_pretrained(folder)
    words(folder)
    configured(folder, **changes)
    return folder, AutoModelForCausalLM.from_pretrained(folder).eval()


def configured(folder, **changes):
    """Change config.json of a `folder`; None takes an option away."""
    content = {**json.loads((folder / "config.json").read_text()), **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def their_logits(model, ids):
    with torch.no_grad():
        return model(ids).logits


def draw(rows, *shape, seed=5):
    return torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(seed))


def assert_same(ours, theirs, lengths=(1, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT), rows=ROWS):
    """Logits of two rows of each of `lengths`, which rise: what transformers grows stays grown."""
    for length in lengths:
        ids = draw(rows, 2, length)
        tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)


def byte_level(specials=("<|endoftext|>",)):
    """A byte-level BPE whose special tokens have the first ids."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(specials),
        show_progress=False,
    )
    made.train_from_iterator([TEXT], trainer)
    return made


def model_of(folder, rows, **changes):
    """A small LLaMA of so many rows in `folder`, which has a tokenizer already; transformers'."""
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1}
    random_model(llama(**{"vocab_size": rows, **sizes, **changes})).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()
