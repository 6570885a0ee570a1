from pathlib import Path

from setuptools import find_packages, setup

readme = Path(__file__).parent / "README.md"

setup(
    name="nopos-plugin",
    version="0.1.0",
    description="Position encodings for language models, as a fairseq --user-dir plugin",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["nopos_plugin", "nopos_plugin.*"]),
    # fairseq-fixed sets the lower end. The code keeps to Python 3.10's syntax: under stock
    # fairseq 0.12.2, which stops at 3.10, the folder serves as a bare --user-dir.
    python_requires=">=3.11",
    # Ranges; the versions that were tested together are in scripts/constraints.txt.
    install_requires=[
        "fairseq-fixed>=0.12.3.1,<0.13",
        "hydra-core>=1.3,<1.4",
        "matplotlib",
        "numpy",
        "pyarrow",
        "pyyaml",
        "sacremoses",
        "safetensors",
        "tensorboardX",
        "tiktoken>=0.9",  # encode_to_numpy
        "tokenizers",
        "torch>=2.6",
        "tqdm",
        "zstandard",
    ],
    extras_require={
        "lm-eval": ["lm-eval>=0.4.13"],
        "sentencepiece": ["sentencepiece"],
        "test": [
            "lm-eval>=0.4.13",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "sentencepiece",
            "transformers>=5",
        ],
    },
    entry_points={
        "console_scripts": [
            "nopos-attention = nopos_plugin.cli.attention:main",
            "nopos-benchmark = nopos_plugin.cli.benchmark:main",
            "nopos-encodings = nopos_plugin.cli.encodings:main",
            "nopos-evaluate-answers = nopos_plugin.cli.evaluate_answers:main",
            "nopos-export = nopos_plugin.cli.export:main",
            "nopos-import = nopos_plugin.cli.import_model:main",
            "nopos-lm-eval = nopos_plugin.cli.lm_eval:main",
            "nopos-make-task = nopos_plugin.cli.make_task:main",
            "nopos-passkey = nopos_plugin.cli.passkey:main",
            "nopos-plot = nopos_plugin.cli.plot:main",
            "nopos-probe = nopos_plugin.cli.probe:main",
            "nopos-rank = nopos_plugin.cli.rank:main",
            "nopos-show-bias = nopos_plugin.cli.show_bias:main",
            "nopos-shuffle = nopos_plugin.cli.shuffle:main",
            "nopos-evaluate = nopos_plugin.cli.evaluate:main",
            "nopos-data-info = nopos_plugin.cli.data_info:main",
            "nopos-prepare-pile = nopos_plugin.cli.prepare_pile:main",
            "nopos-prepare-text = nopos_plugin.cli.prepare_text:main",
            "nopos-prepare-wikitext103 = nopos_plugin.cli.prepare_wikitext:wikitext103",
            "nopos-prepare-wikitext2 = nopos_plugin.cli.prepare_wikitext:wikitext2",
        ]
    },
)
