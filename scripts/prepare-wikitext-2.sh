#!/usr/bin/env bash
# WikiText-2 in data-bin/wikitext-2: downloaded, verified, binarized. Installs what is missing first.
#
#     bash scripts/prepare-wikitext-2.sh
#     bash scripts/prepare-wikitext-2.sh --help      (paths count from the repository's root)
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/install.sh
exec .venv/bin/nopos-prepare-wikitext2 "$@"
