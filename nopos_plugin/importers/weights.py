"""Tensors of a source by name. Every one has to be taken, or dropped for a reason."""

import json
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
# File of all tensors, or index of the files that they are in; safetensors first.
NAMES = ("model.safetensors", "pytorch_model.bin")
PICKLE = (
    "reading it may run any code that its author put there: if you trust the author, add "
    "--trust-pickle"
)


class Weights:
    """Tensors by name: `take` each once, `drop` the others, then `finish`.

    tensors: {name: tensor, or a function that reads it}.
    """

    def __init__(self, tensors, source):
        self.left = dict(tensors)
        self.source = str(source)
        self.dropped: dict[str, str] = {}

    def __contains__(self, name):
        return name in self.left

    def take(self, name, *shape):
        """The tensor `name`, of that shape where one is given.

        Raises ValueError if it is missing, has another shape, or is not of floats.
        """
        if name not in self.left:
            raise ValueError(f"{self.source} has no {name}")
        tensor = self.left.pop(name)
        tensor = tensor() if callable(tensor) else tensor
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{self.source}: {name} is no tensor, but a {type(tensor).__name__}")
        if shape and tuple(tensor.shape) != shape:
            raise ValueError(
                f"{self.source}: {name} has the shape {tuple(tensor.shape)}, and its configuration "
                f"says {shape}"
            )
        if tensor.dtype not in FLOATS:
            raise ValueError(
                f"{self.source}: {name} is of {tensor.dtype}; read are float32, float16, bfloat16"
            )
        return tensor

    def drop(self, pattern, why):
        """Leave those out whose name matches the regular expression `pattern` as a whole."""
        for name in [name for name in self.left if re.fullmatch(pattern, name)]:
            del self.left[name]
            self.dropped[name] = why

    def finish(self):
        """{name: why} of what was dropped. Raises ValueError if one was neither taken nor dropped.

        What is in a file and not understood could be an encoding.
        """
        if self.left:
            names = sorted(self.left)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"{self.source} has tensors that no model of its kind has: "
                f"{', '.join(names[:3])}{more}"
            )
        return self.dropped


def of_folder(folder, trusted=False):
    """Weights of a Hugging Face folder, in one file or several. Raises ValueError."""
    for name in NAMES:
        if Path(folder, name).is_file():
            return Weights(of_file(Path(folder, name), trusted), folder)
        index = Path(folder, f"{name}.index.json")
        if index.is_file():
            return Weights(dict(_of_shards(index, trusted)), folder)
    raise ValueError(f"{folder} has neither {' nor '.join(NAMES)}, whole or with an index.json")


def _of_shards(index, trusted):
    where = of_json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(x, str) for x in where.values()):
        raise ValueError(f"{index} has no weight_map, which says what file a tensor is in")
    found = {file: of_file(index.parent / file, trusted) for file in sorted(set(where.values()))}
    for name, file in where.items():
        if name not in found[file]:
            raise ValueError(f"{index.parent / file} has no {name}, which {index.name} says it has")
        yield name, found[file].pop(name)
    left = [(index.parent / file, name) for file, rest in found.items() for name in rest]
    if left:
        raise ValueError("{} has {}, of which {} says nothing".format(*left[0], index.name))


def of_file(path, trusted=False):
    """{name: tensor, or a function that reads it} of one file."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    if path.suffix == ".safetensors":
        try:
            file = safe_open(path, framework="pt")
            return {name: lambda name=name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no whole safetensors file ({error})") from None
    loaded = unpickled(path, trusted)
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise ValueError(f"{path} holds no tensors by name, but a {type(loaded).__name__}")
    return loaded


def unpickled(path, trusted=False):
    """What torch.save put into a file, tensors mapped into memory; no code is run.

    trusted: read objects of any class, which may run code. Raises ValueError.
    """
    try:
        try:
            return torch.load(path, "cpu", weights_only=not trusted, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, "cpu", weights_only=not trusted)  # as before torch 1.6
    except MemoryError:
        raise
    except Exception as error:  # whatever the bytes of something else lead to
        unsafe = re.search(r"GLOBAL (\S+) (was not an allowed|whose module)", str(error))
        if isinstance(error, pickle.UnpicklingError) and unsafe:
            raise ValueError(f"{path} holds {unsafe[1]}, and {PICKLE}") from None
        said = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(
            f"{path} is no whole file of PyTorch's ({type(error).__name__}: {said})"
        ) from None


def of_json(path):
    """The dictionary in a JSON file. Raises ValueError."""
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no dictionary")
    return content
