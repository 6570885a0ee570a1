#!/usr/bin/env bash
# NoPos: the perplexity of a model of train.sh, without overlap, at its training length: Tables 1 to 3.
#
#     bash examples/nopos/evaluate.sh ENCODING wikitext-103
#     bash examples/nopos/evaluate.sh ENCODING pile [SIZE [LENGTH [paper|scripts]]]
#
# takes the words of train.sh. Other lengths, of which the paper says nothing: --lengths 512,1024 as further arguments.
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=nopos
. "$root/examples/recipe.sh"

case ${given[1]:-} in
    wikitext-103)
        length=512 model=wikitext-103-${given[0]}
        made=(data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext)
        ;;
    *)
        length=${given[3]:-1024} model=pile-${given[0]}-${given[2]:-1.3b}-$length-${given[4]:-paper}
        made=(data-bin/pile 'bash scripts/prepare-pile.sh --preset nopos --dest data-bin/pile' miniature_pile 'Wikipedia (en)' --preset nopos)
        ;;
esac
known
made "$out/$model/checkpoint_best.pt"
data_bin "${made[@]}"
evaluate "$out/$model/checkpoint_best.pt" "$length"
