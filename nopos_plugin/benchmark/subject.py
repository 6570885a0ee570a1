"""What is evaluated: a stock transformer_lm of random weights, and a text of random words."""

import torch
from fairseq import models, options, tasks
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import make_builder
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

SPLIT = "valid"


def dictionary(types):
    """So many types: fairseq's four, and words."""
    made = Dictionary()
    for number in range(types - len(made)):
        made.add_symbol(f"w{number}")
    return made


def tokens(count, types, seed):
    """(count,) int64 of words, the n-th of which comes 1/n as often as the first."""
    generator = torch.Generator().manual_seed(seed)
    first = Dictionary().nspecial
    shares = (1 / torch.arange(1, types - first + 1, dtype=torch.float64)).cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * shares[-1]
    return first + torch.searchsorted(shares, drawn, right=True)


def write_data_bin(folder, count, types, seed):
    """Make `folder` (a Path) a data-bin of so many types, its split SPLIT one line of tokens."""
    words = dictionary(types)
    words.save(str(folder / "dict.txt"))
    builder = make_builder(str(folder / f"{SPLIT}.bin"), impl="mmap", vocab_size=types)
    drawn = tokens(count, types, seed)
    drawn[-1] = words.eos()
    builder.add_item(drawn)
    builder.finalize(str(folder / f"{SPLIT}.idx"))


def write_checkpoint(path, data, flags, seed):
    """The model that `fairseq-train DATA FLAGS` begins with, as it would save it."""
    parser = options.get_training_parser("language_modeling")
    typed = [str(data), "--task", "language_modeling", "--arch", "transformer_lm", *flags]
    config = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, typed))
    torch.manual_seed(seed)
    model = models.build_model(config.model, tasks.setup_task(config.task))
    optimizer = {
        "criterion_name": "CrossEntropyCriterion",
        "optimizer_name": "FairseqAdam",
        "lr_scheduler_state": {},
        "num_updates": 0,
    }
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(config, resolve=True, enum_to_str=True),
        "model": model.state_dict(),
        "optimizer_history": [optimizer],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }
    torch.save(state, path)


def flags(softmax, layers, dim, heads, window, cutoffs):
    """Of fairseq-train, for a model of these sizes that takes `window` tokens.

    softmax: full, the output layer being the embedding, or adaptive, input and output in bands
    that end at `cutoffs`, as in transformer_lm_wiki103.
    """
    sizes = {
        "--decoder-layers": layers,
        "--decoder-embed-dim": dim,
        "--decoder-input-dim": dim,
        "--decoder-output-dim": dim,
        "--decoder-ffn-embed-dim": 4 * dim,
        "--decoder-attention-heads": heads,
        "--tokens-per-sample": window,
        "--max-target-positions": window,
    }
    switches = ["--decoder-normalize-before"]
    if softmax == "adaptive":
        bands = ",".join(map(str, cutoffs))
        sizes |= {"--adaptive-softmax-cutoff": bands, "--adaptive-input-cutoff": bands}
        sizes["--criterion"] = "adaptive_loss"
        switches += ["--adaptive-input", "--tie-adaptive-weights", "--tie-adaptive-proj"]
    else:
        switches.append("--share-decoder-input-output-embed")
    return [*(str(x) for item in sizes.items() for x in item), *switches]
