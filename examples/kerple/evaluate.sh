#!/usr/bin/env bash
# KERPLE: the perplexity of a model of train.sh, without overlap, at the lengths of the paper.
#
#     bash examples/kerple/evaluate.sh ENCODING LENGTH [MODEL]
#
# takes the words of train.sh. 247m: up to 3072 (Table 10). 162m and 1.3b: the test split up to 16384 (Tables 3 and 9),
# and the last 256 tokens of each block of 16384 as well, the same ones at every length.
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=kerple
. "$root/examples/recipe.sh"

length=${given[1]:-} size=${given[2]:-247m}
model=$out/$size-${given[0]}-$length
known
if [ "$size" = 247m ]; then
    made "$model/checkpoint_best.pt"
    data_bin data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext
    evaluate "$model/checkpoint_best.pt" "$(at_least "$length" 512,1024,1536,2048,3072)"
else
    made "$model/checkpoint_last.pt"
    data_bin data-bin/arxiv 'bash scripts/prepare-pile.sh --preset kerple-arxiv --dest data-bin/arxiv' \
        miniature_pile ArXiv --preset kerple-arxiv
    evaluate "$model/checkpoint_last.pt" "$(at_least "$length" 512,1024,2048,4096,8192,16384)" --split test \
        --last-tokens "$(shrunk 256)"
fi
