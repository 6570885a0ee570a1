"""Every mistake that a user can make gets one sentence: the option, its value, what to do."""

import re
import shutil

import pytest
import tiny
from command import SIZE, TRAINING, eval_lm, fairseq, train


@pytest.mark.parametrize(
    "arch, flags, sentence",
    [
        (
            "rope",
            "--position-args theeta=3",
            "rope has no option 'theeta'; its options are: theta, ",
        ),
        ("nopos", "--position-args theta=3", "nopos has no option 'theta'; its options are: none"),
        ("rope", "--position-args theta", "'theta' is not of the form option=value"),
        ("rope", "--position-args theta=ten", "theta=ten: rope wants a value of type float"),
        ("rope", "--position-args theta=-1", "theta=-1.0: rope needs a positive, finite base"),
        ("rope", "--position-args fraction=2", "fraction=2.0: rope needs a share in (0, 1]"),
        ("rope", "--position-args layout=third", "layout=third: rope knows half, interleaved"),
        ("rope", "--position-args theta=1,theta=2", "theta is given twice"),
        ("t5", "--position-args buckets=1", "buckets=1: t5 needs at least 2"),
        ("t5", "--position-args max_distance=16", "max_distance=16: t5 with 32 buckets needs more"),
        (
            "kerple_log",
            "--position-args per_layer=yes",
            "per_layer=yes: kerple_log wants a value true or",
        ),
        ("rope", "--position-args theta=nan", "theta=nan: rope needs a positive, finite base"),
        ("rope", "--position-args fraction=nan", "fraction=nan: rope needs a share in (0, 1]"),
        (
            "bipe_alibi",
            "--position-args multiplier=-1",
            "multiplier=-1.0: bipe_alibi needs a positive",
        ),
        (
            "bipe_rope",
            "--position-args inner=sinusoidal,size=7",
            "only a learned inner table has a",
        ),
        ("bipe_rope", "--position-args size=0", "size=0: bipe_rope needs at least 1 row"),
        ("bipe_rope", "--position-args separators=.|nix", "the dictionary has no symbol 'nix'"),
        (
            "bipe_alibi",
            "--position-args separators=@gpt2",
            "separators=13|198: the dictionary has no",
        ),
        (
            "rope",
            "--decoder-learned-pos",
            "--decoder-learned-pos contradicts --position-encoding rope",
        ),
        (
            "sinusoidal",
            "--no-token-positional-embeddings",
            "--no-token-positional-embeddings contradicts --position-encoding sinusoidal",
        ),
        ("nopos", "--decoder-attention-heads 5", "heads 5 does not divide --decoder-embed-dim 48"),
        ("rope", "--decoder-attention-heads 16", "rope turns pairs of channels, but 3 of 3"),
        ("learned", "--max-target-positions 16", "learned ends at --max-target-positions 16, but "),
        (
            "nopos",
            "--decoder-xformers-att-config {}",
            "--decoder-xformers-att-config: attention with",
        ),
        ("nopos", "--tie-adaptive-weights", "--tie-adaptive-weights needs --adaptive-input"),
        (
            "alibi",
            "--attention-window 0",
            "--attention-window 0: a token sees at least itself, so 1 or more; leave it out to",
        ),
    ],
)
def test_options(arch, flags, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        tiny.model(f"transformer_lm_{arch}", *flags.split(" "))


def test_an_unknown_encoding_is_answered_with_the_known_ones(data_bin, checkpoints, capsys):
    with pytest.raises(SystemExit) as caught:
        tiny.config("transformer_lm_rope", "--position-encoding", "ropee")
    assert caught.value.code == 2
    assert "invalid choice: 'ropee'" in capsys.readouterr().err
    overrides = ("--model-overrides", "{'position_encoding': 'ropee'}")
    with pytest.raises(ValueError, match="ropee.*unknown encoding; known are alibi, .*t5"):
        eval_lm(data_bin, checkpoints("rope"), *overrides)


def test_an_option_that_changes_a_shape_is_refused_at_evaluation(data_bin, checkpoints):
    overrides = ("--model-overrides", "{'position_args': 'size=5'}")
    with pytest.raises(ValueError, match=r"size=5 \(trained: 1024\): the model wants parameters"):
        eval_lm(data_bin, checkpoints("bipe_rope"), *overrides)


def test_a_folder_without_dictionary_is_no_data_bin(data_bin, checkpoints, tmp_path):
    shutil.copy(data_bin / "valid.bin", tmp_path)
    for use in (
        lambda: train(tmp_path, "transformer_lm_rope", tmp_path / "model"),
        lambda: eval_lm(tmp_path, checkpoints("rope")),
    ):
        with pytest.raises(FileNotFoundError, match="has no dict.txt, so it is no data-bin: give"):
            use()


def test_shards_of_an_evaluation_are_refused(data_bin, checkpoints):
    """Stock prints "Perplexity: 1.00" for an empty one."""
    with pytest.raises(ValueError, match="fairseq-eval-lm with 2 shards .* give 1 for both"):
        eval_lm(data_bin, checkpoints("rope"), "--num-shards", "2", "--shard-id", "1")


def test_a_prompt_beyond_a_learned_table_is_refused(data_bin, checkpoints, tmp_path):
    (tmp_path / "prompt").write_text("the cat " * 20)
    code, output = fairseq(
        *("interactive", data_bin, "--task", "language_modeling", "--path", checkpoints("learned")),
        *("--cpu", "--input", tmp_path / "prompt"),
    )
    last = output.strip().splitlines()[-1]
    assert code == 1 and last.startswith(
        "ValueError: a prompt has 41 tokens, and the model ends at 32"
    )


def test_the_bare_model_needs_an_encoding():
    with pytest.raises(ValueError, match="--position-encoding is missing: choose one of alibi, "):
        tiny.model("position_transformer_lm")


def test_another_table_length_names_the_sizes():
    short = tiny.model("transformer_lm_learned")
    long = tiny.model("transformer_lm_learned", max_target_positions=80)
    with pytest.raises(ValueError, match=r"learned: the model wants .*82, 48.*checkpoint has .*66"):
        long.load_state_dict(short.state_dict())


def test_an_unknown_kernel_is_answered_with_the_known_ones(data_bin, checkpoints):
    overrides = ("--model-overrides", "{'attention_kernel': 'fast'}")
    with pytest.raises(
        ValueError, match="--attention-kernel fast: known are auto, reference, sdpa"
    ):
        eval_lm(data_bin, checkpoints("rope"), *overrides)


def test_a_window_without_a_token_is_refused_at_evaluation(data_bin, checkpoints):
    overrides = ("--model-overrides", "{'attention_window': -8}")
    with pytest.raises(ValueError, match="--attention-window -8: a token sees at least itself"):
        eval_lm(data_bin, checkpoints("rope"), *overrides)


@pytest.mark.parametrize("text", ["{", '{"separators": [3]}', '{"separators": "."}', "[]"])
def test_a_broken_manifest_is_named(text, data_bin, tmp_path):
    for part in data_bin.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest .*repair or remove it"):
        train(tmp_path, "transformer_lm_bipe_rope", tmp_path / "model")


def test_a_process_ends_in_the_sentence_and_a_failure(data_bin, tmp_path):
    """Once through the real command: nothing after the sentence, exit 1, no checkpoint."""
    code, output = fairseq(
        *("train", data_bin, "--arch", "transformer_lm_rope", *SIZE, *TRAINING),
        *("--save-dir", tmp_path / "model", "--position-args", "theeta=3"),
    )
    last = output.strip().splitlines()[-1]
    assert code == 1
    assert last == (
        "ValueError: --position-args theeta=3: rope has no option 'theeta'; "
        "its options are: theta, fraction, layout, scaling, factor, original_length, fast, slow, "
        "short_factors, long_factors"
    )
    assert not (tmp_path / "model").exists()


def test_too_long_for_learned_ends_without_a_perplexity(data_bin, checkpoints):
    code, output = fairseq(
        *("eval_lm", data_bin, "--path", checkpoints("learned"), "--gen-subset", "valid"),
        *("--tokens-per-sample", "64", "--cpu", "--num-workers", "0"),
    )
    assert code == 1 and "Perplexity" not in output
    assert output.strip().splitlines()[-1] == (
        "ValueError: --position-encoding learned ends at 32 tokens, and a sequence has 64: use "
        "--tokens-per-sample 32 or less, or train with --max-target-positions 64 or more"
    )
