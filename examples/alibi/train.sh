#!/usr/bin/env bash
# ALiBi (Press et al., 2022): a penalty linear in distance, and what it was compared with, on WikiText-103 as published.
#
#     bash examples/alibi/train.sh ENCODING LENGTH
#
#     ENCODING   alibi sinusoidal rope t5              (rope and t5 are published at 512, 1024 and 3072)
#     LENGTH     64 128 256 512 1024 1536 2048 3072    tokens, in training
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=alibi
. "$root/examples/recipe.sh"

encoding=${given[0]} length=${given[1]:-}
no_more_than 2
one_of ENCODING "$encoding" alibi sinusoidal rope t5
one_of LENGTH "$length" 64 128 256 512 1024 1536 2048 3072
data_bin data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext
wikitext_103 "$encoding-$length"
