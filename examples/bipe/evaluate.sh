#!/usr/bin/env bash
# BiPE: the perplexity of a model of train.sh, without overlap, at 1024 to 6144 tokens, as its published script does.
#
#     bash examples/bipe/evaluate.sh ENCODING [scripts|paper]
#
# takes the words of train.sh. DATA is a component of the Pile's validation set, all of it in the split train (README).
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=bipe
. "$root/examples/recipe.sh"

checkpoint=$out/${given[0]}-${given[1]:-scripts}/checkpoint_best.pt
known
made "$checkpoint"
data_bin data-bin/bipe-pg19 'nopos-prepare-pile, as the README says,' miniature_pile 'Wikipedia (en)' --preset bipe
evaluate "$checkpoint" 1024,2048,3072,4096,5120,6144 --split train
