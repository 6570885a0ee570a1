"""The papers' recipes: what they train is what was published, whatever the GPUs; and they run."""

import math
import os
import re
import shlex
import subprocess
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command import ROOT
from fairseq import models, optim, options
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq.optim import lr_scheduler
from fairseq_cli import train as train_command
from omegaconf import OmegaConf

from nopos_plugin.cli import (
    evaluate,
    import_model,
    lm_eval,
    passkey,
    prepare_pile,
    prepare_text,
)
from nopos_plugin.evaluation import results

PAPERS = ("nopos", "alibi", "kerple", "bipe", "pose")
SCRIPTS = [f"examples/{paper}/{what}.sh" for paper in PAPERS for what in ("train", "evaluate")]
# flags.txt of LLaMA-7B, for commands that are printed
LLAMA = (
    "--task language_modeling --arch transformer_lm_rope --decoder-normalize-before "
    "--no-scale-embedding --dropout 0.0 --decoder-embed-dim 4096 --decoder-input-dim 4096 "
    "--decoder-output-dim 4096 --decoder-norm rms --decoder-norm-eps 1e-06 --decoder-no-bias "
    "--decoder-glu swiglu --decoder-layers 32 --decoder-attention-heads 32 "
    "--decoder-ffn-embed-dim 11008 --position-args layout=half,theta=10000.0 "
    "--tokens-per-sample 2048"
)


def bash(script, *words, **environment):
    """(exit status, stdout, stderr); nothing of this process' settings is the script's."""
    ours = ("DATA", "OUT", "GPUS", "MAX_TOKENS", "DRY", "SMOKE", "MODEL", "TEXT")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        ["bash", script, *words],
        cwd=ROOT,
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def printed(script, *words, **environment):
    """The commands that DRY=1 prints, each a list of words."""
    status, said, wrong = bash(script, *words, **{**environment, "DRY": "1"})
    assert status == 0, wrong
    return [shlex.split(line) for line in said.replace("\\\n", "").splitlines()]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    (folder / "flags.txt").write_text(LLAMA + "\n")
    return str(folder)


def parsed(command):
    """fairseq-train's options, as its parser reads them."""
    assert command[0] == "fairseq-train"
    parser = options.get_training_parser("language_modeling")
    return options.parse_args_and_arch(parser, command[1:])


def filled(max_tokens, length):
    """Tokens in a batch of fairseq's."""
    count = 10 * max_tokens // length
    (first, *_) = data_utils.batch_by_size(
        np.arange(count),
        num_tokens_fn=lambda index: length,
        num_tokens_vec=np.full(count, length),
        max_tokens=max_tokens,
        required_batch_size_multiple=8,
    )
    return len(first) * length


# What the papers and their published code say. tokens: an update, GPUs * --max-tokens *
# --update-freq, on so many GPUs.
WIKITEXT = {
    "optimizer": "nag", "lr": [1.0], "lr_scheduler": "cosine", "t_mult": 2.0, "lr_shrink": 0.75,
    "lr_period_updates": 270_000, "warmup_updates": 16_000, "warmup_init_lr": 1e-7, "min_lr": 1e-4,
    "stop_min_lr": 1e-9, "max_update": 286_000, "clip_norm": 0.1, "criterion": "adaptive_loss",
    "ddp_backend": "legacy_ddp", "fp16": True, "seed": 1, "decoder_layers": 16,
    "decoder_embed_dim": 1024, "decoder_attention_heads": 8, "dropout": 0.3,
    "adaptive_softmax_cutoff": "20000,60000",
    "gpus": 8, "tokens": 73_728,
}  # fmt: skip
PILE = {
    "optimizer": "adam", "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01, "clip_norm": 0.0,
    "lr_scheduler": "polynomial_decay", "memory_efficient_fp16": True, "seed": 1,
}  # fmt: skip
PAPER = {
    **PILE, "lr": [2e-3], "warmup_updates": 500, "total_num_update": 10_000, "max_update": 10_000,
    "dropout": 0.0, "attention_dropout": 0.0, "gpus": 8, "tokens": 262_144,
}  # fmt: skip
PUBLISHED_SCRIPTS = {
    **PILE, "lr": [2e-4], "warmup_updates": 1000, "total_num_update": 20_000, "max_update": 20_000,
    "dropout": 0.1, "attention_dropout": 0.1, "gpus": 32, "tokens": 786_432,
    "checkpoint_activations": True, "validate_interval_updates": 100,
}  # fmt: skip
SIZES = {  # layers, channels, heads
    "125m": (12, 768, 12), "350m": (24, 1024, 16), "760m": (24, 1536, 16), "1.3b": (24, 2048, 32),
}  # fmt: skip
NEOX = {
    "optimizer": "adam", "adam_betas": "(0.9, 0.999)", "adam_eps": 1e-8, "weight_decay": 0.0,
    "clip_norm": 1.0, "lr_scheduler": "cosine", "dropout": 0.0, "activation_fn": "gelu",
    "decoder_normalize_before": True, "no_scale_embedding": True, "seed": 1235,
    "decoder_embed_dim": 768, "decoder_layers": 12, "decoder_attention_heads": 12,
    "lr": [6e-4], "warmup_updates": 500, "max_update": 50_000, "bf16": True, "gpus": 1,
}  # fmt: skip
NEOX_XL = {
    **NEOX, "decoder_embed_dim": 2048, "decoder_layers": 24, "decoder_attention_heads": 16,
    "lr": [2e-4], "warmup_updates": 1500, "max_update": 150_000, "bf16": False, "fp16": True,
}  # fmt: skip
BIPE = {
    "optimizer": "adam", "adam_betas": "(0.9, 0.999)", "adam_eps": 1e-8, "weight_decay": 0.01,
    "clip_norm": 1.0, "lr": [1e-4], "lr_scheduler": "polynomial_decay", "warmup_updates": 10_000,
    "end_learning_rate": 1e-7, "total_num_update": 1_000_000, "max_update": 1_000_000,
    "decoder_layers": 12, "decoder_embed_dim": 768, "decoder_attention_heads": 12,
    "decoder_ffn_embed_dim": 3072, "decoder_glu": "swiglu", "decoder_norm": "rms", "dropout": 0.0,
    "share_decoder_input_output_embed": False, "fp16": True, "gpus": 8, "tokens": 262_144,
}  # fmt: skip
POSE = {
    "optimizer": "adam", "lr": [2e-5], "lr_scheduler": "polynomial_decay", "warmup_updates": 10,
    "end_learning_rate": 0.0, "total_num_update": 1000, "max_update": 1000, "extension": "original",
    "add_bos_token": True, "checkpoint_activations": True, "memory_efficient_fp16": True,
    "fp16_init_scale": 4096, "decoder_embed_dim": 4096, "gpus": 8, "tokens": 64 * 2048,
}  # fmt: skip


def variants():
    """{(paper, *words): what is published of it}"""
    made = {}
    for encoding in ("nopos", "learned", "sinusoidal", "alibi"):
        made["nopos", encoding, "wikitext-103"] = {**WIKITEXT, "length": 512}
        lengths = [(size, 1024) for size in SIZES] + [("1.3b", n) for n in (256, 512, 2048)]
        for size, length in lengths:
            shape = ("decoder_layers", "decoder_embed_dim", "decoder_attention_heads")
            own = {**PAPER, "length": length, **dict(zip(shape, SIZES[size], strict=True))}
            made["nopos", encoding, "pile", size, f"{length}"] = own
    for encoding in ("nopos", "sinusoidal", "alibi"):
        own = {**PUBLISHED_SCRIPTS, "length": 1024}
        made["nopos", encoding, "pile", "1.3b", "1024", "scripts"] = own
    for encoding in ("alibi", "sinusoidal", "rope", "t5"):
        for length in (64, 128, 256, 512, 1024, 1536, 2048, 3072):
            made["alibi", encoding, f"{length}"] = {**WIKITEXT, "length": length}
    for encoding in ("kerple_log", "alibi"):
        for length in (512, 2048):
            made["kerple", encoding, f"{length}"] = {**WIKITEXT, "length": length}
    for encoding in ("kerple_log", "kerple_power", "alibi", "t5", "rope", "sinusoidal"):
        own = {**NEOX, "length": 512, "tokens": 32 * 512}
        made["kerple", encoding, "512", "162m"] = own
    for encoding in ("kerple_log", "alibi", "t5"):
        own = {"length": 1024, "tokens": 32 * 1024}
        made["kerple", encoding, "1024", "162m"] = {**NEOX, **own}
        made["kerple", encoding, "512", "1.3b"] = {**NEOX_XL, "length": 512, "tokens": 32 * 512}
    for encoding in ("bipe_rope", "bipe_alibi", "rope", "alibi"):
        own = {"position_args": "separators=▁.|<0x0A>"} if "bipe" in encoding else {}
        made["bipe", encoding] = {**BIPE, **own, "length": 1024}
    for encoding in ("bipe_rope", "bipe_alibi"):
        own = {"position_args": "separators=▁.|.|<0x0A>"}
        made["bipe", encoding, "paper"] = {**BIPE, **own, "length": 1024}
    for target, factor in (("16k", 8), ("32k", 16), ("96k", 48), ("128k", 64)):
        for scaling in ("linear", "ntk", "yarn"):
            law = {"yarn": "yarn_pose"}.get(scaling, scaling)
            args = f"scaling={law},factor={factor}"
            args += ",original_length=2048" if scaling == "yarn" else ""
            own = {**POSE, "length": 2048, "extension_factor": factor, "position_args": args}
            made["pose", scaling, target] = own
    return made


VARIANTS = variants()


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_what_is_trained_is_what_was_published(variant, llama):
    (paper, *words), own = variant, dict(VARIANTS[variant])
    gpus, tokens, length = (own.pop(name) for name in ("gpus", "tokens", "length"))
    script, known = f"examples/{paper}/train.sh", {"MODEL": llama}
    args = parsed(*printed(script, *words, GPUS=f"{gpus}", **known))
    assert {name: type(value)(getattr(args, name)) for name, value in own.items()} == own
    assert args.position_encoding == ("rope" if paper == "pose" else words[0])
    assert args.tokens_per_sample == length and args.distributed_world_size == gpus
    assert args.sample_break_mode in ("none", None) and args.user_dir == str(ROOT / "nopos_plugin")
    assert args.max_tokens * args.update_freq[0] * gpus == tokens
    # what is really in an update: the same on any other number of GPUs
    really = filled(args.max_tokens, length) * args.update_freq[0] * gpus
    for other, most in ((1, None), (2, None), (4, 2 * length), (8, length)):
        limit = {} if most is None else {"MAX_TOKENS": f"{most}"}
        (command,) = printed(script, *words, GPUS=f"{other}", **known, **limit)
        given = dict(zip(command, command[1:], strict=False))
        here, times = int(given["--max-tokens"]), int(given["--update-freq"])
        assert filled(here, length) * times * other == really
        assert most is None or here == most


def test_an_update_of_wikitext_is_what_the_published_flags_come_to():
    """9,216 tokens are 18 windows of 512, of which fairseq makes batches of 16."""
    known = {64: 73_728, 128: 73_728, 256: 65_536, 512: 65_536, 1024: 65_536, 1536: 73_728}
    known |= {2048: 65_536, 3072: 73_728}
    for length, tokens in known.items():
        args = parsed(*printed("examples/alibi/train.sh", "alibi", f"{length}", GPUS="8"))
        assert filled(args.max_tokens, length) * args.update_freq[0] * 8 == tokens


def test_where_an_update_is_too_small_for_all_gpus_their_batches_are():
    args = parsed(*printed("examples/kerple/train.sh", "t5", "512", "162m", GPUS="8"))
    assert (args.max_tokens, args.update_freq) == (2048, [1])


def test_on_a_cpu_there_is_no_half_precision(llama):
    for paper, *words in (("alibi", "t5", "512"), ("kerple", "t5", "512", "162m"), ("bipe", "rope"),
                          ("nopos", "nopos", "pile"), ("pose", "ntk", "16k")):  # fmt: skip
        (command,) = printed(f"examples/{paper}/train.sh", *words, GPUS="0", MODEL=llama)
        args = parsed(command)
        assert args.cpu and args.distributed_world_size == 1
        assert not (args.fp16 or args.bf16 or args.memory_efficient_fp16)


@lru_cache
def dictionary(size, *symbols):
    """So many, with fairseq's own four."""
    made = Dictionary()
    for symbol in symbols or ("</s>",):
        made.add_symbol(symbol)
    for number in range(size - len(made)):
        made.add_symbol(f"w{number}")
    return made


# Of the cards: |V| 267,744 in WikiText-103, 50,264 of GPT-2's; KERPLE adds 2 H, learned (L + 2) C.
PARAMETERS = [
    (267_744, ("nopos", "nopos", "wikitext-103"), 246_933_504),
    (267_744, ("nopos", "learned", "wikitext-103"), 246_933_504 + 514 * 1024),
    (267_744, ("alibi", "t5", "64"), 246_933_504 + 32 * 8),
    (267_744, ("kerple", "kerple_log", "512"), 246_933_504 + 2 * 8),
    (50_264, ("nopos", "nopos", "pile", "125m"), 123_658_752),
    (50_264, ("nopos", "sinusoidal", "pile", "350m"), 353_781_760),
    (50_264, ("nopos", "alibi", "pile", "760m"), 757_165_056),
    (50_264, ("nopos", "nopos", "pile", "1.3b"), 1_311_543_296),
    (50_264, ("kerple", "kerple_power", "512", "162m"), 162_261_504 + 2 * 12),
    (32_000, ("bipe", "bipe_alibi"), 163_203_840),
    (32_000, ("bipe", "alibi"), 162_417_408),
]


@pytest.mark.parametrize("types, variant, parameters", PARAMETERS)
def test_models_have_the_published_numbers_of_parameters(types, variant, parameters):
    paper, *words = variant
    (command,) = printed(f"examples/{paper}/train.sh", *words, GPUS="1")
    cfg = convert_namespace_to_omegaconf(parsed(command))
    known = dictionary(types, "▁.", ".", "<0x0A>")
    task = SimpleNamespace(
        args=OmegaConf.create({"data": ""}), source_dictionary=known, target_dictionary=known
    )
    with torch.device("meta"):
        model = models.build_model(cfg.model, task)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def schedule(*variant, **environment):
    """update -> the rate after so many, of fairseq's scheduler."""
    paper, *words = variant
    (command,) = printed(f"examples/{paper}/train.sh", *words, GPUS="1", **environment)
    cfg = convert_namespace_to_omegaconf(parsed(command))
    parameter = torch.nn.Parameter(torch.zeros(1))
    return lr_scheduler.build_lr_scheduler(
        cfg.lr_scheduler, optim.build_optimizer(cfg.optimizer, [parameter])
    ).step_update


def test_rates_are_those_of_the_published_trainings(llama):
    neox = schedule("kerple", "kerple_log", "512", "162m")
    for n in (1, 250, 500):
        assert math.isclose(neox(n), 6e-4 * n / 500)
    for n in (501, 20_000, 49_500):  # its last 500 updates are flat, which fairseq's are not
        assert math.isclose(neox(n), 3e-4 * (1 + math.cos(math.pi * (n - 500) / 50_000)))
    assert math.isclose(neox(49_500), 5.92e-7, rel_tol=1e-3)
    assert neox(50_000) < 2e-7

    bipe = schedule("bipe", "bipe_rope")  # transformers' polynomial decay, power 1
    assert math.isclose(bipe(5000), 5e-5)
    for n in (10_000, 505_000, 999_999):
        left = 1 - (n - 10_000) / (1_000_000 - 10_000)
        assert math.isclose(bipe(n), (1e-4 - 1e-7) * left + 1e-7, rel_tol=1e-9)

    pose = schedule("pose", "linear", "16k", MODEL=llama)
    assert math.isclose(pose(10), 2e-5) and math.isclose(pose(505), 1e-5) and pose(1000) == 0

    wikitext = schedule("alibi", "alibi", "512")
    assert math.isclose(wikitext(8000), 0.5, rel_tol=1e-6)
    half = 1e-4 + 0.5 * (1 - 1e-4) * (1 + math.cos(math.pi * 135_000 / 270_000))
    assert math.isclose(wikitext(16_000 + 135_000), half, rel_tol=1e-6)


@pytest.mark.parametrize("script", SCRIPTS)
def test_usage(script):
    status, said, wrong = bash(script, "--help")
    assert status == 0 and not wrong
    assert f"bash {script} " in said and "SMOKE=1" in said and "GPUS=N" in said
    assert bash(script) == (2, "", said)
    status, nothing, wrong = bash(script, "--max-update", "3")
    name = script.split("/")[1]
    last = f"\n{name}: --max-update comes after the words, which say what to make\n"
    assert (status, nothing, wrong) == (2, "", said + last)


def test_usage_has_every_variant():
    said = {}
    for paper in PAPERS:
        said[paper] = re.findall(r"[\w.-]*\w", bash(f"examples/{paper}/train.sh", "--help")[1])
    for paper, *words in VARIANTS:
        assert set(words) <= set(said[paper]), (paper, words)


def typed(line):
    """(script, words, settings) of `NAME=VALUE bash examples/... WORD...`"""
    words = shlex.split(line, comments=True)
    begin = words.index("bash")
    return words[begin + 1], words[begin + 2 :], dict(word.split("=", 1) for word in words[:begin])


BAD = {
    "kerple/train.sh kerple_lgo 512": "ENCODING kerple_lgo: choose one of kerple_log alibi",
    "kerple/train.sh kerple_log": "LENGTH is missing: choose one of 512 2048",
    "kerple/train.sh rope 1024 162m": "ENCODING rope: choose one of kerple_log alibi t5",
    "kerple/train.sh kerple_log 512 7b": "MODEL 7b: choose one of 247m 162m 1.3b",
    "kerple/train.sh kerple_log 512 162m x": "x is one word too many; see --help",
    "alibi/train.sh alibi 100": ("LENGTH 100: choose one of 64 128 256 512 1024 1536 2048 3072"),
    "nopos/train.sh nopos books": "CORPUS books: choose one of wikitext-103 pile",
    "nopos/train.sh rope pile": "ENCODING rope: choose one of nopos learned sinusoidal alibi",
    "nopos/train.sh nopos pile 125m 512": "125m was trained at 1024 tokens; 1.3b at 512, too",
    "nopos/train.sh learned pile 1.3b 1024 scripts": (
        "the published scripts train 1.3b at 1024, of nopos, sinusoidal and alibi: not learned, "
        "1.3b at 1024"
    ),
    "bipe/train.sh nopos": "ENCODING nopos: choose one of bipe_rope bipe_alibi rope alibi",
    "bipe/train.sh rope paper": (
        "rope has no segments, so nothing of the paper's own: leave paper out"
    ),
    "pose/train.sh linear 64k": "TARGET 64k: choose one of 16k 32k 96k 128k",
    "pose/evaluate.sh linear 16k speed": "WHAT speed: choose one of perplexity passkey",
    "alibi/evaluate.sh alibi 64 sliding": (
        "TABLE sliding has models of LENGTH 512, 1024 and 3072, none of 64"
    ),
    "alibi/evaluate.sh alibi 64 all": (
        "TABLE all: choose one of nonoverlapping extrapolation sliding stride512"
    ),
    "bipe/evaluate.sh rop": "ENCODING rop: choose one of bipe_rope bipe_alibi rope alibi",
}
# of alibi/train.sh alibi 512
BAD_SETTINGS = {
    "GPUS=7": "an update of 65536 tokens is no multiple of 7 GPUs times 8192: set GPUS or "
    "MAX_TOKENS so that it is",
    "GPUS=8 MAX_TOKENS=3072": "an update of 65536 tokens is no multiple of 8 GPUs times 3072: set "
    "GPUS or MAX_TOKENS so that it is",
    "GPUS=8 MAX_TOKENS=500": "MAX_TOKENS=500 holds no window of 512 tokens",
    "GPUS=all": "GPUS=all is no number",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_a_sentence(line):
    script, *words = line.split()
    said = bash(f"examples/{script}", *words, DRY="1")
    assert said == (1, "", f"{script.partition('/')[0]}: {BAD[line]}\n")


def test_in_miniature_the_printed_data_is_that_of_the_miniature(tmp_path):
    miniature = {"DRY": "1", "SMOKE": "1", "OUT": str(tmp_path)}
    for own, data in (({}, tmp_path / "data"), ({"DATA": "mine"}, "mine")):
        _, said, _ = bash("examples/alibi/train.sh", "alibi", "512", **miniature, **own)
        assert said.startswith(f"fairseq-train {data} ")


@pytest.mark.parametrize("line", BAD_SETTINGS)
def test_updates_that_cannot_be_as_published_are_refused(line):
    settings = dict(setting.split("=") for setting in line.split())
    said = bash("examples/alibi/train.sh", "alibi", "512", DRY="1", **settings)
    assert said == (1, "", f"alibi: {BAD_SETTINGS[line]}\n")


def test_what_is_missing_is_named(tmp_path):
    """Before anything is computed: the data, the model, the GPUs."""
    nowhere = {"OUT": str(tmp_path), "DATA": str(tmp_path / "bin")}
    missing = f"alibi: {tmp_path}/bin has no dict.txt, so it is no data-bin: bash"
    assert bash("examples/alibi/train.sh", "alibi", "512", **nowhere)[2].startswith(missing)
    for smoke in ({}, {"SMOKE": "1"}):
        status, _, wrong = bash("examples/alibi/evaluate.sh", "alibi", "512", **nowhere, **smoke)
        absent = f"alibi: {tmp_path}/alibi-512/checkpoint_best.pt is not there: "
        assert (status, wrong) == (1, f"{absent}examples/alibi/train.sh alibi 512 makes it\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dict.txt").touch()
    status, _, wrong = bash("examples/pose/train.sh", "ntk", "16k", MODEL=str(tmp_path))
    absent = f"pose: {tmp_path} has no flags.txt: nopos-import LLAMA --out {tmp_path} makes it"
    assert (status, wrong) == (1, f"{absent}, MODEL= names another\n")
    status, _, wrong = bash("examples/alibi/train.sh", "alibi", "512", GPUS="64", **nowhere)
    assert status == 1 and wrong.startswith("alibi: GPUS=64: torch finds "), wrong
    assert not list(tmp_path.glob("alibi-512"))


def told(folder):
    """Commands of the README in a folder of examples/: lines that are set apart, joined where they
    go on, and those of recipes in the text."""
    text = (ROOT / "examples" / folder / "README.md").read_text("utf-8").replace("\\\n", "")
    apart = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return apart + re.findall(r"`(bash examples/\w+/(?:train|evaluate)\.sh [^`]+)`", text)


PARSERS = {
    "nopos-evaluate": evaluate.parser().parse_args,
    "nopos-import": import_model.parser().parse_args,
    "nopos-lm-eval": lm_eval.parser().parse_args,
    "nopos-passkey": passkey.parser().parse_intermixed_args,
    "nopos-prepare-pile": prepare_pile.parsed,
    "nopos-prepare-text": prepare_text.parser().parse_intermixed_args,
    "fairseq-train": lambda words: parsed(["fairseq-train", *words]),
    "nopos-plot": lambda words: None,
}


@pytest.mark.parametrize("folder", (*PAPERS, "."))
def test_commands_of_a_readme_are_commands(folder, llama):
    seen = set()
    for line in told(folder):
        command = line.split()[0]
        if "bash examples/" in line and "/run.sh" not in line:
            script, words, settings = typed(line)
            seen.add(script)
            for one in printed(script, *words, **{"GPUS": "1", "MODEL": llama, **settings}):
                PARSERS[one[0]](one[1:])
        elif line.startswith("bash scripts/prepare-pile.sh"):
            prepare_pile.parsed(typed(line)[1])
        elif command in PARSERS:
            PARSERS[command](shlex.split(line)[1:])
    assert seen >= {script for script in SCRIPTS if f"/{folder}/" in script}
    assert len(seen) >= 2


# One of each paper, in this order.
ONCE = {
    "nopos": ("nopos", "pile", "125m"),
    "alibi": ("alibi", "512"),
    "kerple": ("kerple_log", "512"),
    "bipe": ("bipe_rope",),
    "pose": ("yarn", "16k"),
}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """smoke(paper): its folder, after train.sh of ONCE."""
    folder, made = tmp_path_factory.mktemp("smoke"), {}

    def train(paper):
        if paper not in made:
            words, where = ONCE[paper], folder / paper
            status, said, wrong = bash(
                f"examples/{paper}/train.sh", *words, SMOKE="1", OUT=str(where)
            )
            assert status == 0, wrong
            assert "num_updates=2," in said and "Saved checkpoint" in said
            made[paper] = where
        return made[paper]

    return train


@pytest.mark.parametrize("paper", PAPERS)
def test_in_miniature_a_model_is_trained_evaluated_and_drawn(paper, smoke):
    folder, words = smoke(paper), ONCE[paper]
    status, said, wrong = bash(f"examples/{paper}/evaluate.sh", *words, SMOKE="1", OUT=str(folder))
    assert status == 0, wrong
    rows = results.read(folder / "results.jsonl", results.PERPLEXITY)
    encoding = "rope" if paper == "pose" else words[0]
    assert {row["position_encoding"] for row in rows} == {encoding}
    published = {
        "nopos": [1024],
        "alibi": [512, 1024, 1536, 2048, 3072],
        "kerple": [512, 1024, 1536, 2048, 3072],
        "bipe": [1024, 2048, 3072, 4096, 5120, 6144],
        "pose": [2048, 4096, 8192, 16384],
    }[paper]
    shrunk = [length // (64 if paper == "pose" else 16) for length in published]
    assert [row["window_tokens"] for row in rows] == shrunk
    assert all(row["tokens"] == row["split_tokens"] for row in rows)
    assert f"{folder}/results-perplexity.png" in said


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_every_variant_in_miniature(variant, smoke, tmp_path):
    """The commands that SMOKE=1 runs, in this process."""
    paper, *words = variant
    known = {"SMOKE": "1", "OUT": str(tmp_path)}
    if paper == "pose":
        (tmp_path / "imported").symlink_to(smoke("pose") / "imported")
    (command,) = printed(f"examples/{paper}/train.sh", *words, **known)
    kind = paper if paper == "pose" else "alibi" if "adaptive_loss" in command else "nopos"
    command[1] = str(smoke(kind) / "data")
    cfg = convert_namespace_to_omegaconf(parsed(command))
    distributed_utils.call_main(cfg, train_command.main)
    modes = {"alibi": ["nonoverlapping", "stride512"], "pose": ["perplexity", "passkey"]}
    if words[1:] in (["512"], ["1024"], ["3072"]):
        modes["alibi"] += ["extrapolation", "sliding"]
    for mode in modes.get(paper, [None]):
        typed_words = words if mode is None else [*words, mode]
        measured, drawn = printed(f"examples/{paper}/evaluate.sh", *typed_words, **known)
        if measured[0] == "nopos-evaluate":
            measured[1] = command[1]
        run = {"nopos-evaluate": evaluate.main, "nopos-passkey": passkey.main}[measured[0]]
        assert run(measured[1:]) == 0
        assert drawn[0] == "nopos-plot" and os.path.exists(drawn[1])
