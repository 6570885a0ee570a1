"""A checkpoint is whole or not there, is read with care, and training goes on where it ended."""

import contextlib
import errno
import functools
import logging
import os
import pickle
import re
import shutil
import time
import types
import zipfile

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

TRUSTED = "NOPOS_TRUSTED_CHECKPOINTS"
PAUSES = (2.5, 2.5)  # seconds before a file is tried again, as in fixed

logger = logging.getLogger(__name__)


class BrokenCheckpoint(ValueError):
    """A file that is no whole checkpoint."""


def read_with_care():
    """What is broken gets a sentence, and what may run code when it is read needs a word of trust.

    Old checkpoints hold an argparse.Namespace or numpy scalars, and torch unpickles them if
    NOPOS_TRUSTED_CHECKPOINTS names them. torch does not compare a file's check sums, so that a
    checkpoint with a hole loads. Both.
    """
    patched = types.ModuleType("torch that reads with care")
    patched.__dict__.update(torch.__dict__, load=_load)
    checkpoint_utils.torch = patched


def _load(f, *args, **kwargs):
    """torch.load of the open file `f`. Raises ValueError for one that is broken or not trusted."""
    try:
        _compare_check_sums(f)
        return torch.load(f, *args, **kwargs, weights_only=not _is_trusted(f.name))
    except MemoryError:
        raise
    except Exception as error:  # whatever the bytes of something else lead to
        # the file is open: to look for a place that is not in it is EINVAL
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        unsafe = re.search(r"GLOBAL (\S+) (was not an allowed|whose module)", str(error))
        if isinstance(error, pickle.UnpicklingError) and unsafe:
            raise ValueError(
                f"{f.name} holds {unsafe[1]}, as old checkpoints do, and reading it may run any "
                f"code that its author put there: if you trust the author, set {TRUSTED}={f.name}"
            ) from error
        said = str(error).partition(". ")[0].partition("\n")[0]
        raise BrokenCheckpoint(
            f"{f.name} is no whole checkpoint ({type(error).__name__}: {said})"
        ) from error


def _is_trusted(path):
    named = filter(None, os.environ.get(TRUSTED, "").split(os.pathsep))
    return os.path.realpath(path) in map(os.path.realpath, named)


def _compare_check_sums(f):
    """Raise BadZipFile if a part of the zip file `f` is not what was written."""
    if zipfile.is_zipfile(f):
        with zipfile.ZipFile(f) as parts:
            damaged = parts.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"{damaged} is not what was written")
    f.seek(0)


def write_whole():
    """A checkpoint takes its name when all of it is on the disk, and an error leaves no part.

    checkpoint_last and checkpoint_best are copied in place, so that a full disk or a kill leaves
    half of one. What failed is tried again behind its own first half, and the sum passes for a
    checkpoint. Nothing waits for the disk. Both.
    """
    save, copy = checkpoint_utils.torch_persistent_save, PathManager.copy

    @functools.wraps(save)
    def torch_persistent_save(obj, filename, async_write=False):
        if async_write or not PathManager.supports_rename(filename):
            return save(obj, filename, async_write)
        return _write(filename, lambda f: torch.save(obj, f))

    @functools.wraps(copy)
    def copy_whole(src_path, dst_path, overwrite=False):
        if not PathManager.supports_rename(dst_path):
            return copy(src_path, dst_path, overwrite)
        with open(src_path, "rb") as source:
            return _write(dst_path, lambda f: shutil.copyfileobj(source, f), source)

    checkpoint_utils.torch_persistent_save = torch_persistent_save
    PathManager.copy = staticmethod(copy_whole)


def _write(path, fill, source=None):
    """True, once the file `path` is what `fill` writes; `source` is read from its start.

    Raises OSError, after three attempts, and leaves what was there.
    """
    part = f"{path}.tmp"
    for pause in (*PAUSES, None):
        try:
            if source is not None:
                source.seek(0)
            with open(part, "wb") as f:
                fill(f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(part, path)
            _sync_folder(path)
            return True
        except Exception as error:
            with contextlib.suppress(FileNotFoundError):
                os.remove(part)
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):  # of which torch.save makes a RuntimeError
                raise
            if pause is None:
                raise OSError(
                    f"{path} was not written ({cause.strerror}); checkpoints from before are "
                    "whole: make room, and the same command goes on from checkpoint_last.pt"
                ) from error
            time.sleep(pause)


def _sync_folder(path):
    """Keep the new name of `path` through a loss of power, where the file system can."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def broadcast_any_object():
    """Several processes can resume: the first sends the others the config that it read.

    They read it as if from a file of a stranger's, and torch >= 2.6 refuses. Both.
    """

    def _broadcast_object_slow(obj, src_rank, group, dist_device):
        box = [obj]
        torch.distributed.broadcast_object_list(box, src_rank, group, dist_device)
        return box[0]

    distributed_utils._broadcast_object_slow = _broadcast_object_slow


def never_start_over():
    """Training starts from zero only where there is nothing to go on from.

    A --restore-file that is not there, or a checkpoint_last.pt that is lost while others are kept,
    is a start from zero for both, or from --finetune-from-model; a broken one is a traceback.
    """
    load = Trainer.load_checkpoint

    @functools.wraps(load)
    def load_checkpoint(self, filename, *args, **kwargs):
        cfg = self.cfg.checkpoint
        name = f"checkpoint_last{self.checkpoint_suffix}.pt"
        from_zero = not PathManager.isfile(filename)
        if from_zero or filename == cfg.finetune_from_model:
            if from_zero and filename != os.path.join(cfg.save_dir, name):
                beside = os.path.join(cfg.save_dir, filename)
                hint = f"; {beside} is" if os.path.isfile(beside) else ""
                raise ValueError(f"--restore-file {filename} is not there{hint}")
            unsaved = cfg.no_save or cfg.no_last_checkpoints
            newest = None if unsaved else _newest_whole(cfg.save_dir)
            if newest:
                raise ValueError(
                    f"--save-dir {cfg.save_dir} has checkpoints, but no {name}: {newest}; "
                    "an empty --save-dir starts anew"
                )
        try:
            return load(self, filename, *args, **kwargs)
        except BrokenCheckpoint as error:
            newest = _newest_whole(os.path.dirname(filename) or ".")
            other = newest or "no other in its folder is whole, so an empty --save-dir starts anew"
            raise ValueError(f"{error}: {other}") from error

    Trainer.load_checkpoint = load_checkpoint


def _newest_whole(folder):
    """How to go on from the newest checkpoint in `folder` that loads, or None."""
    if not os.path.isdir(folder):  # the first process makes it, perhaps later than this
        return None
    found = [entry for entry in os.scandir(folder) if entry.name.endswith(".pt")]
    for entry in sorted(found, key=lambda entry: entry.stat().st_mtime, reverse=True):
        try:
            with open(entry.path, "rb") as f:
                state = _load(f, map_location="cpu")
            place = state["extra_state"]["train_iterator"]  # crash.pt has none
            updates = state["optimizer_history"][-1]["num_updates"]
        except Exception:  # broken, not trusted, or none of fairseq's
            continue
        return (
            f"--restore-file {entry.path} goes on from update {updates}, epoch {place['epoch']}, "
            "the newest whole one"
        )
    return None


def end_at_max_update():
    """A training that is done stays as it is; both add an update whenever it is called again."""
    load = checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_checkpoint(cfg, trainer, **kwargs):
        loaded = load(cfg, trainer, **kwargs)
        most, updates = trainer.cfg.optimization.max_update, trainer.get_num_updates()
        if 0 < most <= updates:
            logger.info(f"nothing to train: --max-update {most}, the checkpoint has {updates}")
            trainer.cfg.optimization.max_epoch = -1  # 0 means without end
        return loaded

    checkpoint_utils.load_checkpoint = load_checkpoint
