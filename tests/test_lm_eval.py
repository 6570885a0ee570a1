"""nopos-lm-eval: what the harness is told, against one forward a text, and its results by hand."""

import json
import math
import os
import socket
from types import SimpleNamespace

import datasets
import huggingface_hub
import lm_eval.tasks.manager
import pytest
import tiny
import torch
from command import run, train
from fairseq import checkpoint_utils, models
from lm_eval.api.instance import Instance
from lm_eval.utils import make_table

from nopos_plugin.cli import harness
from nopos_plugin.cli.checkpoint import Checkpoint
from nopos_plugin.cli.evaluate import main as evaluate
from nopos_plugin.cli.lm_eval import main, parser
from nopos_plugin.cli.prepare_text import main as prepare_text
from nopos_plugin.data.text import Text
from nopos_plugin.data.windowed import WindowedDataset
from nopos_plugin.evaluation import losses, results
from nopos_plugin.evaluation.windows import LastOfEach, Sliding
from nopos_plugin.prepare.tokenizers import build
from nopos_plugin.prepare.tokenizers.coder import Coder

BOS, PAD, EOS, UNK = range(4)
DYNAMIC = "scaling=dynamic_ntk,factor=4,original_length=8"
ADAPTIVE = ("--adaptive-softmax-cutoff", "20,40")


def sharpened(model, favoured=slice(4, None), seed=3):
    """`model` with an output layer that says other symbols at each step, few of them specials."""
    weight = model.decoder.output_projection.weight
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(0.1 * drawn)
        weight[favoured] = drawn[favoured]
    return model


def made(name):
    """A model of the dictionary of tiny.py."""
    if name == "stock":
        cfg = tiny.config("transformer_lm")
        torch.manual_seed(1)
        return sharpened(models.build_model(cfg.model, tiny.task(cfg)).eval())
    if name == "adaptive":
        return tiny.model("transformer_lm_rope", *ADAPTIVE)
    if name == "dynamic_ntk":
        return sharpened(tiny.model("transformer_lm_rope", "--position-args", DYNAMIC))
    return sharpened(tiny.model(f"transformer_lm_{name}"))


def adapted(model, *flags, ceiling=None, **trained):
    """The Harness of a model whose texts are words, for flags of nopos-lm-eval."""
    words = tiny.dictionary()
    subject = Checkpoint.__new__(Checkpoint)
    vars(subject).update(
        model=model,
        path="model.pt",
        task=SimpleNamespace(args=SimpleNamespace(**trained), source_dictionary=words),
        config=SimpleNamespace(
            task=SimpleNamespace(tokens_per_sample=64), model=SimpleNamespace(**trained)
        ),
        ceiling=lambda: ceiling,
    )
    typed = ["--path", "model.pt", "--tasks", "any", "--device", "cpu", *flags]
    coder = Coder(build("words"), words)
    return harness.Harness(subject, coder, parser().parse_args(list(map(str, typed))))


def ask(adapter, kind, *arguments):
    requests = [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]
    return getattr(adapter, kind)(requests)


def words(count, seed=0):
    return [f"w{1 + token % 59}" for token in tiny.tokens(1, count, seed)[0].tolist()]


def text(count, seed=0):
    return " ".join(words(count, seed))


def indices(text):
    """Of the words w1, w2, ..., which come after fairseq's four and the full stop."""
    return [4 if word == "." else 4 + int(word[1:]) for word in text.split()]


def after(model, line):
    """Log-probabilities after each token of `line`, (T, V) float64, of one forward."""
    with torch.no_grad():
        output = model(torch.tensor([line]))
    if getattr(model.decoder, "adaptive_softmax", None) is not None:
        return model.get_normalized_probs(output, log_probs=True)[0].double()
    return output[0][0].double().log_softmax(-1)


def likely(model, line, targets):
    """The log-probability of `targets` at the end of `line`, and whether each is the likeliest."""
    rows = after(model, line[:-1])[-len(targets) :]
    total = sum(row[target].item() for row, target in zip(rows, targets, strict=True))
    rows[:, PAD] = -torch.inf
    return total, rows.argmax(-1).tolist() == targets


def said(model, prompt, count):
    """The likeliest tokens after `prompt`, up to `</s>`, by a forward for each."""
    line = list(prompt)
    for _ in range(count):
        row = after(model, line)[-1]
        row[PAD] = -torch.inf
        if int(row.argmax()) == EOS:
            break
        line.append(int(row.argmax()))
    return line[len(prompt) :]


def spelled(tokens):
    return " ".join("." if token == 4 else f"w{token - 4}" for token in tokens if token >= 4)


KINDS = ["rope", "alibi", "bipe_rope", "learned", "t5", "dynamic_ntk", "stock", "adaptive"]


@pytest.mark.parametrize("name", KINDS)
def test_log_probabilities_are_those_of_one_forward_a_text(name):
    model = made(name)
    answer = spelled(said(model, [EOS, *indices(text(6))], 3))
    other = answer.rsplit(" ", 1)[0] + " w1 w2"
    pairs = [("", "w1 w2 w3"), (text(6), " " + answer), (text(6), " " + other)]
    pairs += [(text(60), " w5 w6"), (text(3) + "  ", "w9 ."), (" ", "w7")]
    pairs += [(text(20), " w8 " + text(30, seed=1))]
    expected = []
    for context, continuation in pairs:
        line = [EOS, *indices(context + continuation)][-41:]
        expected.append(likely(model, line, line[-len(indices(continuation)) :]))
    assert [greedy for _, greedy in expected] == [False, True, *[False] * 5]
    for size in (1, 60, 9999):
        adapter = adapted(model, "--max-length", 40, "--max-tokens", size)
        found = ask(adapter, "loglikelihood", *pairs)
        assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
        values = [total for total, _ in found]
        assert values == pytest.approx([total for total, _ in expected], rel=1e-5, abs=1e-5)


def test_what_opens_a_text():
    model, pair = made("alibi"), (text(5), " w1 w2")
    alone = ("", "w1 w2 w3")

    def asked(*flags, **trained):
        return ask(adapted(model, *flags, **trained), "loglikelihood", pair, alone)

    def expected(first, opener):
        lines = [first + indices("".join(pair)), [opener, *indices(alone[1])]]
        return [
            (pytest.approx(total, rel=1e-5), greedy)
            for total, greedy in (
                likely(model, lines[0], [5, 6]),
                likely(model, lines[1], [5, 6, 7]),
            )
        ]

    assert asked() == asked("--prefix", "eos") == expected([EOS], EOS)
    assert asked("--prefix", "bos") == asked(add_bos_token=True) == expected([BOS], BOS)
    assert asked(trained_opener="<s>") == expected([BOS], BOS)
    assert asked("--prefix", "eos", trained_opener="<s>") == expected([EOS], EOS)
    assert asked("--bare-contexts") == expected([], EOS)
    assert asked("--bare-contexts", "--prefix", "bos") == expected([], BOS)
    bare = adapted(model, "--bare-contexts", "--prefix", "bos")
    assert ask(bare, "loglikelihood", (" ", alone[1])) == expected([], BOS)[1:]


def test_pads_are_never_the_likeliest():
    model = made("nopos")
    line = [EOS, *indices(text(5))]
    (token,) = said(model, line, 1)
    weight = model.decoder.output_projection.weight
    with torch.no_grad():
        weight[PAD] = 3 * weight[token]
    assert int(after(model, line)[-1].argmax()) == PAD
    ((_, greedy),) = ask(adapted(model), "loglikelihood", (text(5), " " + spelled([token])))
    assert greedy


def test_a_symbol_that_the_model_has_not_opens_nothing():
    model = tiny.model("transformer_lm_rope", "--absent-symbols", "</s>|w3")
    with pytest.raises(ValueError, match="--prefix eos: model.pt has no </s>; name another"):
        adapted(model)
    adapter = adapted(model, "--prefix", "bos")
    assert ask(adapter, "loglikelihood", ("w3", " w4"))[0][0] < 0
    with pytest.raises(ValueError, match="log-probability of 'w4 w3' is -inf: no result"):
        ask(adapter, "loglikelihood", ("w1", " w4 w3"))


def test_lengths():
    model = made("nopos")
    assert adapted(model).max_length == 64
    assert adapted(model, ceiling=50).max_length == 50
    assert adapted(model, "--max-length", 50, ceiling=50).max_length == 50
    with pytest.raises(ValueError, match="--max-length 51: .* positions for 50 tokens only"):
        adapted(model, "--max-length", 51, ceiling=50)
    adapter = adapted(model, "--max-length", 4)
    line = [EOS, *indices("w1 w2 w3 w4 w5")]
    (found,) = ask(adapter, "loglikelihood", ("w1", " w2 w3 w4 w5"))
    assert found[0] == pytest.approx(likely(model, line[-5:], line[-4:])[0], rel=1e-5)
    with pytest.raises(ValueError, match="--max-length 4: a task asks how likely 5 tokens are"):
        ask(adapter, "loglikelihood", ("w1", " w2 w3 w4 w5 w6"))
    for pair in (("w1", " "), ("", " ")):
        with pytest.raises(ValueError, match="how likely ' ' is, which is no token"):
            ask(adapter, "loglikelihood", pair)


def test_unknown_words_are_counted():
    adapter = adapted(made("nopos"))
    ask(adapter, "loglikelihood_rolling", ("w1 w2 w3 dog",), ("",), ("w1 w2 w3 w4",))
    assert adapter.get_model_info()["unknown_share"] == 1 / 8


class Items(list):
    """One document, as an indexed dataset of fairseq's."""

    sizes = property(lambda self: [len(item) for item in self])


def windowed_nats(model, tokens, schedule):
    """Losses (T,) of nopos-evaluate's windows over one document, 0 where nothing is scored."""
    document, dictionary = Text(Items([torch.tensor(tokens)])), tiny.dictionary()
    bounds = document.documents("none")
    dataset = WindowedDataset(document, bounds, schedule, dictionary, dictionary)
    batches = [dataset.collater([dataset[index]]) for index in range(len(dataset))]
    found = losses.Losses(len(tokens))
    with torch.inference_mode():
        assert len(list(losses.score(model, dataset, batches, found, "cpu"))) == len(dataset)
    return found.nats.double()


@pytest.mark.parametrize("name", ["rope", "bipe_rope", "learned"])
def test_rolling_windows_are_those_of_nopos_evaluate(name):
    model = made(name)
    texts = [text(length, seed=length) for length in (10, 72, 53)]
    found = ask(adapted(model, "--max-length", 24), "loglikelihood_rolling", *zip(texts), ("",))
    short, whole, rest = map(indices, texts)
    for total, tokens in zip(found, (short, whole), strict=False):
        assert -total == pytest.approx(
            windowed_nats(model, tokens, Sliding(24, 24)).sum().item(), rel=1e-5
        )
    blocks = windowed_nats(model, rest, Sliding(24, 24))
    last = windowed_nats(model, rest, LastOfEach(24, 5, 53))
    assert last[:48].eq(0).all()
    assert -found[2] == pytest.approx((blocks[:48].sum() + last[48:].sum()).item(), rel=1e-5)
    assert abs(blocks[48:].sum() - last[48:].sum()) > 0.1  # with one token of context, and with 19
    assert found[3] == 0


@pytest.mark.parametrize("step", [3, 32])
@pytest.mark.parametrize("name", ["rope", "dynamic_ntk", "stock"])
def test_answers_are_the_likeliest_tokens(name, step, monkeypatch):
    model, sizes = made(name), []
    decode = harness.greedy

    def counted(model, prompts, *rest):
        sizes.append(len(prompts))
        return decode(model, prompts, *rest)

    monkeypatch.setattr(harness, "STEP", step)
    monkeypatch.setattr(harness, "greedy", counted)
    contexts = [text(4), text(9, seed=1), text(60, seed=2), text(60, seed=3)]
    free = [said(model, [EOS, *indices(one)][-32:], 8) for one in contexts]
    assert [len(tokens) for tokens in free] == [8] * 4
    stop = spelled(free[0][2:4])
    asked = {"max_gen_toks": 8, "until": ["never", stop, ""], "do_sample": False, "temperature": 1}
    found = ask(
        adapted(model, "--max-length", 40), "generate_until", *[(c, asked) for c in contexts]
    )
    for answer, tokens in zip(found, free, strict=True):
        whole = spelled(tokens)
        assert answer == (whole[: whole.index(stop)] if stop in whole else whole)
    going = [sum(stop not in spelled(row[:seen]) for row in free) for seen in (0, 3, 6)]
    assert 0 < going[2] < 4 and sizes == (going if step == 3 else [4])


def test_answers_end_with_the_text():
    model = made("rope")
    prompt = [EOS, *indices(text(5))]
    token = said(model, prompt, 3)[2]
    weight = model.decoder.output_projection.weight
    with torch.no_grad():
        weight[[EOS, token]] = weight[[token, EOS]]
    expected = said(model, prompt, 8)
    assert len(expected) == 2
    (found,) = ask(adapted(model), "generate_until", (text(5), {"max_gen_toks": 8}))
    assert found == spelled(expected)
    (none,) = ask(adapted(model), "generate_until", (text(5), {"max_gen_toks": 0}))
    assert none == ""


def test_other_than_greedy_answers_are_refused():
    adapter = adapted(made("nopos"))
    for given in (
        {"do_sample": True, "temperature": 0.7},
        {"temperature": 0.7},
        {"num_beams": 4},
        {"repetition_penalty": 1.2},
    ):
        with pytest.raises(ValueError, match="but decoding is greedy here: have do_sample: false"):
            ask(adapter, "generate_until", ("w1", {"max_gen_toks": 2, **given}))
    with pytest.raises(ValueError, match="--max-length 64: a task asks for answers of 256 tokens"):
        ask(adapter, "generate_until", ("w1", {"until": ["."]}))


# The command, with tasks that are files.

LETTERS = slice(4 + ord("a"), 4 + ord("z") + 1)
WINDOW = 32
QUESTIONS = ["who sat there", "where was it", "what is a cat", "which of the two dogs was seen"]
CHOICES = ["the cat", "on the mat", "dogs"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """The libraries look nothing up; they have read the environment by now."""
    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **more: asked.append(address))
    yield
    assert not asked


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data-bin of bytes. Two documents of its valid split are shorter than a window, and one is
    three of them."""
    folder = tmp_path_factory.mktemp("lm_eval")
    documents = ["a cat sat there", "two dogs\nand a mat", "the cat saw dogs on a mat. " * 4]
    documents[-1] = documents[-1][: 3 * WINDOW]
    paths = [lines(folder / f"{s}.jsonl", [{"text": d} for d in documents]) for s in ("t", "v")]
    typed = [paths[0], "--valid", paths[1], "--documents", "json", "--tokenizer", "bytes"]
    assert prepare_text([str(x) for x in (*typed, "--workers", "1", "--dest", folder / "bin")]) == 0
    return folder / "bin"


@pytest.fixture(scope="module")
def checkpoint(data):
    """Of a model that says letters only."""
    folder = data.parent / "checkpoint"
    train(data, "transformer_lm_rope", folder, "--max-update", "1")
    path = folder / "checkpoint_last.pt"
    state = torch.load(path, weights_only=False)
    weight = state["model"]["decoder.output_projection.weight"]
    shell = SimpleNamespace(
        decoder=SimpleNamespace(output_projection=SimpleNamespace(weight=weight))
    )
    sharpened(shell, favoured=LETTERS)
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return checkpoint_utils.load_model_ensemble([str(checkpoint)])[0][0].eval()


def code(text):
    """A token a byte."""
    return [4 + byte for byte in text.encode()]


def line(question, answer=""):
    return [EOS, *code(question + answer)]


@pytest.fixture(scope="module")
def tasks(data, model):
    """A folder of tasks, which are what their names say; half of what `answers` wants is said."""
    folder = data.parent / "tasks"
    folder.mkdir()
    rows = [{"question": q, "choices": CHOICES, "target": n % 3} for n, q in enumerate(QUESTIONS)]
    asked = lines(data.parent / "asked.jsonl", rows)
    spoken = [
        bytes(t - 4 for t in said(model, line(q)[-WINDOW + 6 :], 6)).decode() for q in QUESTIONS
    ]
    wanted = [answer if n % 2 else "none" for n, answer in enumerate(spoken)]
    rows = [{"question": q, "target": t} for q, t in zip(QUESTIONS, wanted, strict=True)]
    answers = lines(data.parent / "answers.jsonl", rows)

    def write(name, file, **config):
        files = {"data_files": {"test": str(file)}, "cache_dir": str(data.parent / "cache")}
        kept = {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test"}
        (folder / f"{name}.yaml").write_text(json.dumps({**kept, **config}))

    chosen = {
        "output_type": "multiple_choice",
        "fewshot_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{target}}",
        "metric_list": [{"metric": "acc"}],
    }
    write("choices", asked, **chosen)
    write("no_data", data.parent / "none.jsonl", **chosen)
    write(
        "texts",
        data.parent / "v.jsonl",
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "bits_per_byte"}],
    )
    write(
        "answers",
        answers,
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{target}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 6, "do_sample": False},
        metric_list=[{"metric": "exact_match"}],
    )
    (folder / "both.yaml").write_text(json.dumps({"group": "both", "task": ["choices", "answers"]}))
    return folder


@pytest.fixture
def evaluated(checkpoint, tasks, tmp_path, monkeypatch, capsys):
    """evaluated(*flags): exit status, output, error, and rows of the file; where the harness would
    have its own tasks there is one, `own`."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    own = json.loads((tasks / "choices.yaml").read_text())
    (theirs / "own.yaml").write_text(json.dumps({**own, "task": "own"}))
    monkeypatch.setattr(lm_eval.tasks.manager, "__file__", str(theirs / "manager.py"))

    def run(names, *flags, path=checkpoint, output="results.json"):
        file = tmp_path / output
        typed = ["--path", path, "--tasks", names, "--device", "cpu", "--output", file]
        status = main([str(x) for x in (*typed, "--include-path", tasks, *flags)])
        said = capsys.readouterr()
        rows = file.read_text().splitlines() if file.exists() else []
        return status, said.out, said.err, [json.loads(row) for row in rows]

    return run


def test_results_are_those_made_by_hand(evaluated, model, data, checkpoint):
    status, said, _, (row,) = evaluated("choices,texts,answers")
    assert (status, said) == (0, f"{checkpoint}\n{make_table(row)}\n")
    hits = []
    for number, question in enumerate(QUESTIONS):
        totals = [likely(model, line(question, f" {c}"), code(f" {c}"))[0] for c in CHOICES]
        hits.append(max(range(3), key=totals.__getitem__) == number % 3)
    assert 0 < sum(hits) < 4
    assert row["results"]["choices"]["acc,none"] == sum(hits) / 4
    assert row["results"]["answers"]["exact_match,none"] == 0.5
    documents = [json.loads(x)["text"] for x in (data.parent / "v.jsonl").read_text().splitlines()]
    parts = [[EOS, *code(documents[0])], [EOS, *code(documents[1])]]
    long = [EOS, *code(documents[2])]
    parts += [long[start : start + WINDOW + 1] for start in (0, WINDOW, 2 * WINDOW)]
    bits = -sum(likely(model, part, part[1:])[0] for part in parts) / math.log(2)
    assert len(parts[-1]) == WINDOW + 1 and len(long) == 3 * WINDOW + 1
    size = sum(map(len, documents))
    assert row["results"]["texts"]["bits_per_byte,none"] == pytest.approx(bits / size, rel=1e-6)
    assert row["position_encoding"] == "rope" and row["checkpoint"] == str(checkpoint)
    assert row["device"] == "cpu" and row["torch"] == torch.__version__
    assert row["config"]["prefix"] == "</s>" and row["config"]["tokenizer"]["name"] == "bytes"
    assert row["config"]["max_length"] == row["trained_tokens"] == WINDOW


def test_rolling_perplexity_is_that_of_nopos_evaluate(evaluated, model, data, checkpoint, tmp_path):
    """But for the `</s>` behind each document, which the harness does not score."""
    _, _, _, (row,) = evaluated("texts")
    typed = [data, "--path", checkpoint, "--device", "cpu", "--documents", "lines"]
    typed += ["--lengths", WINDOW, "--output", tmp_path / "ours"]
    assert evaluate(list(map(str, typed))) == 0
    (ours,) = results.read(tmp_path / "ours", results.PERPLEXITY)
    documents = [json.loads(x)["text"] for x in (data.parent / "v.jsonl").read_text().splitlines()]
    short = [[EOS, *code(document), EOS] for document in documents[:2]]
    ends = [likely(model, tokens, [EOS])[0] for tokens in short]
    ends.append(likely(model, [*code(documents[2][-1]), EOS], [EOS])[0])  # a window of its own
    size = sum(map(len, documents))
    assert ours["tokens"] == size + 3
    nats = row["results"]["texts"]["bits_per_byte,none"] * math.log(2) * size
    assert nats == pytest.approx(ours["nats"] + sum(ends), rel=1e-6)


def test_every_checkpoint_gets_a_table_and_a_line(evaluated, checkpoint):
    flags = ("--limit", "2", "--num-fewshot", "1", "--position-args", "theta=5e5")
    status, said, _, rows = evaluated("both", *flags, path=f"{checkpoint},{checkpoint}")
    assert status == 0 and said.count(str(checkpoint)) == 2 and len(rows) == 2
    for row in rows:
        assert row["n-samples"]["choices"] == {"original": 4, "effective": 2}
        assert row["n-shot"]["choices"] == 1 and row["position_args"].startswith("theta=500000")
        assert row["group_subtasks"] == {"both": ["choices", "answers"]}
    status, said, err, rows = evaluated("choices")
    assert (status, said, len(rows)) == (1, "", 2) and "is there already" in sentence(err)


def test_the_harness_tasks_are_known_by_name_and_pattern(evaluated, monkeypatch):
    assert list(evaluated("own", output="a")[3][0]["results"]) == ["own"]
    assert list(evaluated("o*,choices", output="b")[3][0]["results"]) == ["choices", "own"]
    monkeypatch.setattr(lm_eval.tasks.manager, "__file__", None)  # where they are is not even read
    assert list(evaluated("choices,texts", output="c")[3][0]["results"]) == ["choices", "texts"]


def test_words_that_are_not_in_the_dictionary_are_told(evaluated):
    status, _, err, _ = evaluated("choices", "--tokenizer", "words")
    assert status == 0
    # a, and the is, on, it, of, ... that no byte is
    assert " % of the tokens of these tasks are <unk>" in sentence(err)


def sentence(err):
    said = [row for row in err.splitlines() if row.startswith("nopos-lm-eval: ")]
    assert len(said) == 1 and "Traceback" not in err, err
    return said[0]


def test_bad_input_is_one_sentence(evaluated, tmp_path, data, monkeypatch):
    def refused(names, *flags, **more):
        status, said, err, rows = evaluated(names, *flags, **more)
        assert (status, said, rows) == (1, "", [])
        assert not os.path.exists(tmp_path / "results.json")
        return sentence(err)

    assert "--tasks 'nothing': neither the harness nor" in refused("choices,nothing")
    assert "--tasks '': a name is missing" in refused("")
    assert "--tasks 'choices,': a name is missing" in refused("choices,")
    assert "--tasks no_data: FileNotFoundError: " in refused("no_data")
    assert "--include-path " in refused("choices", "--include-path", tmp_path / "none")
    assert "there is no such file" in refused("choices", path=tmp_path / "none.pt")
    assert "there is no such folder" in refused("choices", output="none/results.json")
    assert "--max-length 7: a task asks how likely 8 tokens" in refused(
        "choices", "--max-length", "7"
    )
    assert "--max-length 6: a task asks for answers of 6 tokens" in refused(
        "answers", "--max-length", "6"
    )
    assert "not its own" in refused("choices", "--tokenizer", "gpt2", *small_gpt2(tmp_path))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "dict.txt").write_bytes((data / "dict.txt").read_bytes())
    assert "or name another DATA, or the --tokenizer" in refused("choices", bare)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "runs in one process" in refused("choices")


def small_gpt2(folder):
    import small_bpe

    small_bpe.make(folder, ["the cat sat"], 260)
    return ("--gpt2-encoder-json", folder / "encoder.json")


def test_bad_flags_and_help(capsys):
    for flags in (["--limit", "1.5"], ["--num-fewshot", "-1"], ["--prefix", "cls"]):
        with pytest.raises(SystemExit, match="2"):
            main(["--path", "x", "--tasks", "y", *flags])
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert "usage: nopos-lm-eval" in said and "--bare-contexts" in said


def test_without_the_harness_it_is_a_sentence():
    hidden = "import sys; sys.modules['lm_eval'] = None; import nopos_plugin.cli.lm_eval as command"
    typed = ["--path", __file__, "--tasks", "piqa", "--device", "cpu"]
    status, said = run("-c", f"{hidden}; sys.exit(command.main({typed!r}))")
    assert (status, said) == (1, "nopos-lm-eval: needs the harness: pip install 'lm-eval'\n")
