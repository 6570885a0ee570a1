# Steps of an example: made once, kept when an interruption comes, made anew when what they depend on changes.
# A run.sh sources it, with $name, $root (the clone) and, for `begin`, $out (an absolute path) set, and goes on in $out.

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac }
say() { printf '[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }
die() { printf '%s: %s\n' "$name" "$*" >&2; exit 1; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 403)) || die "bash $BASH_VERSION is too old, 4.3 is needed"

# begin: installs, and enters $out alone. As many jobs at once as there are cores, one thread each; and no GPU, so that
# numbers are alike everywhere. Each job is a process group of its own (set -m), so that its end takes its children along.
begin() {
    bash "$root/scripts/install.sh"
    unset PYTHONPATH PYTHONHOME
    export PATH="$root/.venv/bin:$PATH"
    jobs=$(getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' PYTHONWARNINGS=ignore
    SECONDS=0
    set -m
    trap stop EXIT
    trap 'exit 130' INT TERM HUP
    mkdir -p "$out"
    cd "$out"
    if command -v flock >/dev/null; then
        exec 9>.lock
        flock -n 9 || { say "another run is at work in $out, or its last job is: waiting"; flock 9; }
    fi
    mkdir -p logs
    say "$name in $out, $jobs jobs at a time"
}

stop() { for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done; }

# sources: a sum over the code of the plugin, for keys.
sources() { find "$root/nopos_plugin" -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 cat | cksum; }

# step DIR KEY COMMAND...: COMMAND fills the new folder $part; once it is done, and not before, that becomes DIR.
# A DIR that was made with the same KEY stays.
step() {
    local dir=$1 key=$2
    shift 2
    if [ "$(cat "$dir/.key" 2>/dev/null)" = "$key" ]; then
        say "$dir: finished earlier"
        return
    fi
    part=$dir.part
    rm -rf "$dir" "$part"
    mkdir -p "$part"
    "$@"
    printf '%s\n' "$key" >"$part/.key"
    mv "$part" "$dir"
}

# logged NAME COMMAND...: the output goes to logs/NAME.log, its progress to the terminal; after a failure, its end.
logged() {
    local log=logs/$1.log
    { "${@:2}" 2>&1 | tee "$log" | progress "$1"; } && return
    tail -n 20 "$log" >&2
    die "$2 failed; above is the end of $out/$log"
}

progress() { # progress NAME: the lines of fairseq-train on stdin, the readable part of them on stdout
    local line
    while IFS= read -r line; do
        if [[ $line =~ train_inner.*\ loss=([0-9.]+),.*\ num_updates=([0-9]+), ]]; then
            say "$1: update ${BASH_REMATCH[2]}, training at ${BASH_REMATCH[1]} bits"
        fi
    done
}

# side_by_side COMMAND ITEM...: COMMAND ITEM for each, as many at once as there are cores. A failure ends all.
# (`wait -n` may lose the status of one of two jobs that end together, so each notes its own failure.)
side_by_side() {
    local item
    rm -f .failed
    for item in "${@:2}"; do
        fewer_than "$jobs"
        { trap '[ $? = 0 ] || echo "$item" >>.failed' EXIT; "$1" "$item" </dev/null; } &
    done
    fewer_than 1
}

fewer_than() { # fewer_than N: waits until fewer jobs than N run
    while [ "$(builtin jobs -pr | wc -l)" -ge "$1" ]; do
        wait -n || true
        [ ! -e .failed ] || die "stopped: the failure is above"
    done
    [ ! -e .failed ] || die "stopped: the failure is above"
}
