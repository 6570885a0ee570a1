"""fairseq's commands: as a user's process, or inside this one where only the outcome counts."""

import os
import subprocess
import sys
from pathlib import Path

from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq_cli import eval_lm as eval_lm_command
from fairseq_cli import train as train_command

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "nopos_plugin"
SIZE = (
    "--decoder-layers 2 --decoder-embed-dim 32 --decoder-input-dim 32 --decoder-output-dim 32 "
    "--decoder-ffn-embed-dim 64 --decoder-attention-heads 4"
).split()
TRAINING = (
    "--task language_modeling --tokens-per-sample 32 --max-tokens 512 --optimizer adam --lr 0.005 "
    "--max-update 8 --no-epoch-checkpoints --cpu --num-workers 0 --log-format simple "
    "--log-interval 4"
).split()


def run(*command, cwd=ROOT, **environment):
    """(exit code, all output) of a process that starts with our interpreter and one thread."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


def fairseq(command, *arguments, user_dir=PLUGIN, **kwargs):
    """`run` of `fairseq-COMMAND ARGUMENTS --user-dir ...`."""
    return run("-m", f"fairseq_cli.{command}", *arguments, "--user-dir", user_dir, **kwargs)


def train(data, arch, save_dir, *flags):
    """fairseq-train in this process, of a tiny model for a few updates."""
    # fairseq's memory of the last training
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    typed = [data, "--arch", arch, "--save-dir", save_dir, *SIZE, *TRAINING, *flags]
    parser = options.get_training_parser("language_modeling")
    args = options.parse_args_and_arch(parser, list(map(str, typed)))
    distributed_utils.call_main(convert_namespace_to_omegaconf(args), train_command.main)


def eval_lm(data, checkpoint, *flags):
    """fairseq-eval-lm in this process, on the valid split: loss in bits, and perplexity."""
    typed = [
        data,
        "--path",
        checkpoint,
        "--gen-subset",
        "valid",
        "--cpu",
        "--num-workers",
        "0",
        *flags,
    ]
    parser = options.get_eval_lm_parser()
    args = options.parse_args_and_arch(parser, list(map(str, typed)))
    return eval_lm_command.main(convert_namespace_to_omegaconf(args))
