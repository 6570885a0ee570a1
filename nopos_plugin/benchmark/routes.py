"""The two routes from documents in lines of JSON to a data-bin, and what came of one."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nopos_plugin.benchmark import agreement
from nopos_plugin.benchmark.processes import run
from nopos_plugin.prepare import manifest

SCRIPT = Path(__file__).with_name("classic.py")
STEPS = ("text", "encode", "preprocess")  # of the classic route
PREPARED = "data-bin"


@dataclass(frozen=True)
class Made:
    runs: dict  # {step: processes.Run}
    failure: dict | None = None  # {"reason", "last_lines"}
    documents: Counter | None = None  # as of `agreement`
    counts: dict | None = None  # ours: documents, tokens, bytes of text

    @property
    def seconds(self):
        """Of all that follows the classic route's text, which is not counted; of ours of all."""
        return sum(one.seconds for step, one in self.runs.items() if step != "text")

    @property
    def peak_bytes(self):
        return max(one.peak_bytes or 0 for one in self.runs.values())


def take(plan, vocabulary, folder, copies, cut):
    """The Made of a preparation.Plan, in an empty `folder`; copies: 0 for the classic route.

    vocabulary: Paths of encoder.json, vocab.bpe and dict.txt; cut: theirs, of `agreement`.
    """
    sources = [Path(one).resolve() for one in plan.sources]
    if copies:
        commands = our_commands(plan, vocabulary, copied(sources, folder, copies))
    else:
        commands = classic_commands(plan, vocabulary, sources)
    runs = {}
    for step, command in commands.items():
        runs[step] = run(command, folder)
        status = runs[step].exit_status
        if status:
            reason = f"{step} failed with exit status {status}"
            return Made(runs, {"reason": reason, "last_lines": runs[step].last_lines})
    prefix = folder / PREPARED / "train"
    if not copies:
        return Made(runs, documents=agreement.classic_documents(prefix, folder / "lines"))
    counts = manifest.read(prefix.parent)["splits"]["train"]
    counts = {key: counts[key] for key in ("documents", "tokens", "bytes")}
    return Made(runs, documents=agreement.our_documents(prefix, cut), counts=counts)


def copied(sources, folder, copies):
    """Links to `sources`, as often as `copies` says."""
    links = []
    for number in range(copies):
        for place, source in enumerate(sources):
            links.append(folder / f"{number:05}-{place:05}-{source.name}")
            links[-1].symlink_to(source)
    return links


def our_commands(plan, vocabulary, sources):
    encoder_json, vocab_bpe, dictionary = vocabulary
    names = {
        "--tokenizer": "gpt2",
        "--gpt2-encoder-json": encoder_json,
        "--gpt2-vocab-bpe": vocab_bpe,
        "--gpt2-dict": dictionary,
        "--workers": plan.workers,
        "--dest": PREPARED,
    }
    options = [part for pair in names.items() for part in pair]
    return {"nopos-prepare-pile": ["-m", "nopos_plugin.cli.prepare_pile", *sources, *options]}


def classic_commands(plan, vocabulary, sources):
    encoder_json, vocab_bpe, dictionary = vocabulary
    files = ("--encoder-json", encoder_json, "--vocab-bpe", vocab_bpe)
    workers = ("--workers", plan.workers)
    text = ("text", *sources, "--lines", "lines", "--output", "text")
    encode = ("encode", "text", *files, *workers, "--output", "ids")
    preprocess = ("--only-source", "--trainpref", "ids", "--srcdict", dictionary, *workers)
    return {
        "text": [SCRIPT, *text],
        "encode": [SCRIPT, *encode],
        "preprocess": ["-m", "fairseq_cli.preprocess", *preprocess, "--destdir", PREPARED],
    }
