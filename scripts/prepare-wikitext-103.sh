#!/usr/bin/env bash
# WikiText-103 in data-bin/wikitext-103: downloaded, verified, binarized. Installs what is missing first.
#
#     bash scripts/prepare-wikitext-103.sh
#     bash scripts/prepare-wikitext-103.sh --help      (paths count from the repository's root)
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/install.sh
exec .venv/bin/nopos-prepare-wikitext103 "$@"
