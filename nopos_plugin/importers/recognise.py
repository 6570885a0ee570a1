"""Which importer a source is for."""

import zipfile

from nopos_plugin.importers import (
    fairseq_checkpoint,
    gpt2,
    gpt_neox,
    gpt_neox_layers,
    llama,
    llama2c,
    t5_decoder,
    weights,
)

HUGGING_FACE = (llama, gpt2, gpt_neox, t5_decoder)  # by config.json
KNOWN = (
    "a checkpoint of fairseq's, a Hugging Face folder (LLaMA, PoSE, BiPE, GPT-2, GPT-NeoX, "
    "decoders of T5's blocks), layer files of gpt-neox, and files of llama2.c"
)


def convert(source):
    """The Imported of `source`, a Source. Raises ValueError if it is of no known kind."""
    path = source.path
    if path.is_file():
        if llama2c.recognises(path):
            return llama2c.convert(source)
        if path.suffix == ".bin" and not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is no file of llama2.c, as long as its header says")
        return fairseq_checkpoint.convert(source)
    if not path.is_dir():
        raise ValueError(f"{path}: there is no such file or folder")
    if (path / "config.json").is_file():
        config = weights.of_json(path / "config.json")
        for importer in HUGGING_FACE:
            if importer.recognises(config):
                return importer.convert(source, config)
        raise ValueError(
            f"{path / 'config.json'}: the model_type {config.get('model_type')!r} is not known; "
            f"known are {KNOWN}"
        )
    if (path / "checkpoint.pt").is_file():
        raise ValueError(f"{path} is a folder with a checkpoint: name {path / 'checkpoint.pt'}")
    if gpt_neox_layers.recognises(path):
        return gpt_neox_layers.convert(source)
    raise ValueError(f"{path} has neither config.json nor layer files; known are {KNOWN}")
