"""Every encoding in every size, with the parameter counts of the papers' models."""

import pytest
import tiny
import torch
from fairseq import models
from fairseq.data import Dictionary

from nopos_plugin import positions
from nopos_plugin.models import architectures

# size -> (types of the dictionary, parameters without positional ones), as published but t5tiny's
COUNTS = {
    "": (50_264, 70_384_640),
    "_wiki103": (267_744, 246_933_504),
    "_gpt3_small": (50_264, 123_658_752),
    "_gpt3_medium": (50_264, 353_781_760),
    "_gpt3_large": (50_264, 757_165_056),
    "_gpt3_xl": (50_264, 1_311_543_296),
    "_bipe_151m": (32_000, 162_417_408),
    "_t5base": (32_100, 109_606_656),  # and 384 in a relative bias that none uses
    "_t5tiny": (32_100, 10_841_344),
    "_codelm_1b": (49_152, 1_258_341_376),  # and 1,024 in a relative bias that none uses
}


def build(arch, types, *flags):
    """The architecture at its own size, without memory for its weights."""
    words = Dictionary()
    words.add_symbol(".")
    for number in range(types - len(words)):
        words.add_symbol(str(number))
    sizes = {**dict.fromkeys(tiny.SIZE), "tokens_per_sample": 512}
    cfg = tiny.config(arch, *flags, **sizes)
    with torch.device("meta"):
        return models.build_model(cfg.model, tiny.task(cfg, words)), cfg


@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts_are_the_published_models(size):
    types, expected = COUNTS[size]
    model, _ = build(f"transformer_lm_nopos{size}", types)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_t5base_drops_a_tenth_wherever_the_study_does():
    _, cfg = build("transformer_lm_nopos_t5base", 1000)
    places = ("dropout", "attention_dropout", "activation_dropout", "decoder_final_dropout")
    assert {getattr(cfg.model, place) for place in places} == {0.1}


def test_every_encoding_has_every_size():
    assert set(architectures.SIZES) == set(COUNTS)
    assert len(architectures.names()) == len(positions.names()) * len(COUNTS)
    for arch in architectures.names():
        assert models.ARCH_MODEL_NAME_REGISTRY[arch] == "position_transformer_lm"


@pytest.mark.parametrize("encoding", positions.names())
def test_gpt3_sizes_do_not_force_their_learned_table(encoding):
    model, cfg = build(f"transformer_lm_{encoding}_gpt3_small", 1000)
    assert model.decoder.encoding.name == encoding
    assert cfg.model.decoder_learned_pos == (encoding == "learned")
    assert model.decoder.embed_positions is None


def test_the_flag_overrides_the_archs_encoding():
    _, cfg = build("transformer_lm_alibi_gpt3_small", 1000, "--position-encoding", "t5")
    assert (cfg.model.position_encoding, cfg.model.decoder_learned_pos) == ("t5", False)


def test_kerple_has_the_papers_parameter_count():
    model, _ = build("transformer_lm_kerple_log_gpt3_small", 1000)
    assert sum(p.numel() for p in model.decoder.encoding.parameters()) == 24


def test_two_models_in_a_process_do_not_share_settings():
    small = tiny.model("transformer_lm_alibi")
    large = tiny.model("transformer_lm_alibi", decoder_ffn_embed_dim=192, decoder_attention_heads=6)
    again = tiny.model("transformer_lm_alibi")
    shapes = [m.decoder.layers[0].fc1.weight.shape[0] for m in (small, large, again)]
    assert shapes == [96, 192, 96]
    assert [len(m.decoder.encoding.slopes) for m in (small, large, again)] == [4, 6, 4]


def hydra(name):
    """The config that fairseq-hydra-train hands to build_model: defaults, and no flags."""
    cfg = tiny.config("transformer_lm_alibi")
    cfg.model._name = name
    cfg.model.update(position_encoding=None, trained_position_encoding=None)
    return cfg


def test_an_arch_named_under_hydra_has_its_encoding():
    cfg = hydra("transformer_lm_kerple_log")
    model = models.build_model(cfg.model, tiny.task(cfg))
    assert model.decoder.encoding.name == "kerple_log"
    cfg = hydra("transformer_lm_alibi_gpt3_small")
    with pytest.raises(ValueError, match="take the yaml, --config-dir examples/hydra model=trans"):
        models.build_model(cfg.model, tiny.task(cfg))
