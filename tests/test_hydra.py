"""fairseq-hydra-train with examples/hydra: the model and the run that the same flags make."""

import re
import runpy
import shlex

import pytest
import tiny
import torch
from command import PLUGIN, ROOT, run, train
from fairseq import options
from fairseq.dataclass.initialize import add_defaults, hydra_init
from hydra.core.global_hydra import GlobalHydra
from hydra.experimental import compose, initialize_config_dir
from omegaconf import OmegaConf

from nopos_plugin.models import architectures
from nopos_plugin.models.transformer_lm import PositionLanguageModelConfig

FOLDER = ROOT / "examples" / "hydra"
README = (FOLDER / "README.md").read_text("utf-8")
COMMANDS = [
    command.replace("\\\n", " ")
    for command in re.findall(r"^    (fairseq-hydra-train (?:.*\\\n)*.*)$", README, re.MULTILINE)
]
# the encodings and options that they name
TRAINED = [
    [("rope", "theta=500000,layout=half")],
    [("alibi", ""), ("rope", "")],
    [("bipe_rope", "separators=.|</s>,theta=10000"), ("bipe_rope", "separators=.")],
]
TINY = (
    "model.decoder_layers=2 model.decoder_embed_dim=32 model.decoder_ffn_embed_dim=64 "
    "model.decoder_attention_heads=4 task.tokens_per_sample=32 dataset.max_tokens=512 "
    "dataset.num_workers=0 optimization.max_update=8 optimization.update_freq=[1] "
    "optimization.lr=[0.005] lr_scheduler.warmup_updates=4 common.cpu=true "
    "checkpoint.no_epoch_checkpoints=true"
).split()
FLAGS = shlex.split(
    "--adam-betas '(0.9, 0.98)' --lr-scheduler inverse_sqrt --warmup-updates 4 --clip-norm 1"
)


def hydra_train(folder, arguments, data):
    """(exit code, output) of fairseq-hydra-train in `folder`, which looks like a clone."""
    (folder / "data-bin").mkdir()
    for name, there in (
        ("data-bin/mine", data),
        ("examples", ROOT / "examples"),
        ("nopos_plugin", PLUGIN),
    ):
        (folder / name).symlink_to(there)
    return run("-m", "fairseq_cli.hydra_train", *arguments, cwd=folder)


def test_the_committed_yamls_are_those_of_the_table():
    made = runpy.run_path(str(FOLDER / "generate.py"))["files"]()
    found = {*FOLDER.glob("model/*.yaml"), FOLDER / "options.yaml"}
    assert {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in found} == made


@pytest.fixture(scope="module", autouse=True)
def schema():
    """What fairseq-hydra-train tells hydra before it composes."""
    hydra_init("language_modeling")


def composed(*overrides):
    """The model that fairseq-hydra-train would build."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(FOLDER)):
        cfg = compose("language_modeling", overrides=list(overrides))
    add_defaults(cfg)
    return OmegaConf.to_container(cfg.model, resolve=True, enum_to_str=True)


@pytest.mark.parametrize("arch", architectures.names())
def test_a_yaml_is_its_arch(arch):
    typed = f"no-data --task language_modeling --arch {arch} --tokens-per-sample 512".split()
    args = options.parse_args_and_arch(options.get_training_parser("language_modeling"), typed)
    by_flags = vars(PositionLanguageModelConfig.from_namespace(args))
    by_flags["_name"] = args.arch
    model = composed(f"model={arch}")
    assert model.keys() == by_flags.keys()
    own = [name for name, value in by_flags.items() if not str(value).startswith("${")]
    assert {name: model[name] for name in own} == {name: by_flags[name] for name in own}


def test_overrides_do_as_flags():
    changed = composed(
        *("model=transformer_lm_rope_wiki103", "model.decoder_embed_dim=48"),
        *("model.dropout=0.2", "model.document_mask=true"),
        'model.position_args="theta=1,layout=half"',
    )
    by_flags = tiny.config(
        *("transformer_lm_rope_wiki103", "--dropout", "0.2", "--document-mask"),
        *("--position-args", "theta=1,layout=half"),
        **{**dict.fromkeys(tiny.SIZE), "tokens_per_sample": 512, "decoder_embed_dim": 48},
    )
    assert changed == OmegaConf.to_container(by_flags.model)


@pytest.mark.parametrize("command", COMMANDS, ids=["once", "encodings", "options"])
def test_the_readmes_commands_train_what_flags_train(command, data_bin, tmp_path):
    name, *arguments = shlex.split(command.replace("$PWD", str(tmp_path)))
    assert name == "fairseq-hydra-train"
    code, output = hydra_train(tmp_path, [*arguments, *TINY], data_bin)
    assert code == 0, output
    runs = sorted(path.parent for path in tmp_path.rglob(".hydra"))
    models = []
    for folder in runs:
        by_hydra = torch.load(folder / "checkpoints" / "checkpoint_best.pt", weights_only=True)
        model = by_hydra["cfg"]["model"]
        flags = [*FLAGS, "--position-args", model["position_args"]]
        train(data_bin, model["_name"], folder / "flags", *flags)
        by_flags = torch.load(folder / "flags" / "checkpoint_best.pt", weights_only=True)
        for part in ("model", "optimization", "dataset", "optimizer", "lr_scheduler", "criterion"):
            assert by_hydra["cfg"][part] == by_flags["cfg"][part]
        assert by_hydra["model"].keys() == by_flags["model"].keys()
        for key, value in by_flags["model"].items():
            assert torch.equal(by_hydra["model"][key], value), key
        models.append((model["position_encoding"], model["position_args"]))
    assert models == TRAINED[COMMANDS.index(command)]
