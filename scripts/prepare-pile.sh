#!/usr/bin/env bash
# A data-bin of documents of the Pile: chosen, shuffled, tokenized. Installs what is missing first.
#
#     bash scripts/prepare-pile.sh --preset nopos --gpt2-encoder-json gpt2/encoder.json --dest data-bin/pile
#     bash scripts/prepare-pile.sh --help      (paths count from the repository's root)
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/install.sh
exec .venv/bin/nopos-prepare-pile "$@"
