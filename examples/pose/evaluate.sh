#!/usr/bin/env bash
# PoSE: perplexity and passkeys of a model of train.sh, by the protocols of the paper.
#
#     bash examples/pose/evaluate.sh SCALING TARGET [perplexity|passkey]
#
#     perplexity (default)   16k and 32k: at 2048 to TARGET tokens, stride 1024 (Table 1);
#                            96k and 128k: at 32768 to TARGET, stride 16384 (Table 2)
#     passkey                50 prompts of each length up to TARGET, 32768 at most (figure 2b)
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=pose
. "$root/examples/recipe.sh"
shrink=64

scaling=${given[0]} target=${given[1]:-} what=${given[2]:-perplexity}
no_more_than 3
one_of SCALING "$scaling" linear ntk yarn
one_of TARGET "$target" 16k 32k 96k 128k
one_of WHAT "$what" perplexity passkey
checkpoint=$out/$scaling-$target/checkpoint_last.pt
given=("$scaling" "$target")
made "$checkpoint"
case $target in
    16k) lengths=2048,4096,8192,16384 stride=1024 ;;
    32k) lengths=2048,4096,8192,16384,32768 stride=1024 ;;
    96k) lengths=32768,65536,98304 stride=16384 ;;
    128k) lengths=32768,65536,98304,131072 stride=16384 ;;
esac

if [ "$what" = perplexity ]; then
    data_bin data-bin/pg19 'nopos-prepare-text, as the README says,' die 'train.sh makes the data of SMOKE=1'
    split=train # where nopos-prepare-text puts the first so many documents
    [ -z "${SMOKE:-}" ] || split=valid
    evaluate "$checkpoint" "$lengths" --stride "$(shrunk "$stride")" --documents lines --opening window --split "$split"
    exit
fi
trials=50
if [ -n "${SMOKE:-}" ]; then
    shrink=16 trials=1 # the shortest prompt has 69 tokens
fi
[ "$target" = 16k ] || lengths=2048,4096,8192,16384,32768
run nopos-passkey --path "$checkpoint" --lengths "$(shrunk "$lengths")" --trials "$trials" --output "$out/passkey.jsonl" \
    ${more[@]+"${more[@]}"}
run nopos-plot "$out/passkey.jsonl"
