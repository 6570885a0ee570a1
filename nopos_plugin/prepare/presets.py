"""What papers took of the Pile: options of nopos-prepare-pile."""

UNCOPYRIGHTED = "https://huggingface.co/datasets/monology/pile-uncopyrighted/resolve/main/"
VALID, TEST = f"{UNCOPYRIGHTED}val.jsonl.zst", f"{UNCOPYRIGHTED}test.jsonl.zst"


def shards(*numbers):
    """The addresses of training shards of the uncopyrighted Pile."""
    return [f"{UNCOPYRIGHTED}train/{number:02}.jsonl.zst" for number in numbers]


ALL = shards(*range(30))


def kerple(component):
    """Chi et al. (2022): one component, split 949 : 50 : 1 by document, GPT-2's tokens."""
    return {
        "include": [component],
        "tokenizer": "gpt2",
        "valid_documents": 0.05,
        "test_documents": 0.001,
    }


PRESETS = {
    # Haviv et al. (2022), section 3
    "nopos": {
        "sources": shards(0, 1),
        "exclude": ["Github", "DM Mathematics"],
        "trim": 0.01,
        "valid_documents": 2000,
        "test_documents": 2000,
        "tokenizer": "gpt2",
    },
    "kerple-openwebtext2": kerple("OpenWebText2"),
    "kerple-arxiv": kerple("ArXiv"),
    "kerple-github": kerple("Github"),
    # He et al. (2024): all of the uncopyrighted Pile, LLaMA's tokens
    "bipe": {"valid": [VALID], "test": [TEST], "tokenizer": "json"},
    # Zhu et al. (2024): 100,000 documents of at least 2,048 tokens, LLaMA's
    "pose": {
        "sources": shards(0),
        "valid": [VALID],
        "test": [TEST],
        "min_tokens": 2048,
        "max_documents": 100_000,
        "tokenizer": "json",
    },
}
# Components that the uncopyrighted Pile has not
REMOVED = ("Books3", "BookCorpus2", "OpenSubtitles", "OpenWebText2", "YoutubeSubtitles")
