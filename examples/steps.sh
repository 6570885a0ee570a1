# Steps of an example: made once, kept when an interruption comes, made anew when what they depend on changes.
# A run.sh sources it, with $root (the clone) and $name (of the folder in examples/) set. TEXT and OUT are the user's.

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac }
say() { printf '[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }
die() { printf '%s: %s\n' "$name" "$*" >&2; exit 1; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || die "bash $BASH_VERSION is too old, 4.4 is needed"

here=$root/examples/$name
text=${TEXT:+$(absolute "$TEXT")}
out=$(absolute "${OUT:-$here/out}")
[ -z "$text" ] || [ -f "$text" ] || die "TEXT=$TEXT: there is no such file"

# wordless WORD...: for a run.sh that takes none but --help.
wordless() {
    case $* in
        '') ;;
        -h | --help) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" && exit ;;
        *) die "$*: what it does is told by variables before it; see --help" ;;
    esac
}

# begin: installs, and enters $out alone. As many jobs at once as there are cores, one thread each; and no GPU, so that
# numbers are alike everywhere.
begin() {
    bash "$root/scripts/install.sh"
    unset PYTHONPATH PYTHONHOME
    export PATH="$root/.venv/bin:$PATH"
    jobs=$(getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' PYTHONWARNINGS=ignore
    SECONDS=0
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

# sources [FOLDER...]: a sum over the code of the plugin, or of these folders of it, for keys.
sources() {
    (cd "$root/nopos_plugin" && find "${@:-.}" -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 cat | cksum)
}

# commands FUNCTION...: a sum over what they do, for keys.
commands() { declare -f "$@" | cksum; }

# step DIR KEY COMMAND...: COMMAND fills the new folder $part; once it is done, and not before, that becomes DIR.
# A DIR that was made with the same KEY stays. After an interruption COMMAND begins anew.
step() {
    [ "$(cat "$1/.key" 2>/dev/null)" = "$2" ] || rm -rf "$1" "$1.part"
    resumable_step "$@"
}

# resumable_step DIR KEY COMMAND...: the same, but COMMAND finds in $part what it had made with the same KEY; and what
# took long with another KEY is kept as DIR.old.
resumable_step() {
    local dir=$1 key=$2
    shift 2
    if [ "$(cat "$dir/.key" 2>/dev/null)" = "$key" ]; then
        say "$dir: finished earlier"
        return
    fi
    part=$dir.part
    [ "$(cat "$part/.begun" 2>/dev/null)" = "$key" ] || rm -rf "$part"
    [ ! -e "$dir" ] || { rm -rf "$dir.old" && mv "$dir" "$dir.old"; }
    mkdir -p "$part"
    printf '%s\n' "$key" >"$part/.begun"
    "$@"
    cp "$part/.begun" "$part/.key"
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

# progress_of UPDATES FOLDER/MODEL...: from now on a line every few minutes, how far they are.
progress_of() {
    set -m # a process group, which `stop` ends
    python "$root/examples/progress.py" "$@" 9>&- & # without the lock
    set +m
}

# side_by_side COMMAND ITEM...: COMMAND ITEM for each, as many at once as there are cores. A failure ends all.
# (Each is a process group of its own, by set -m, so that its end takes its children along; and is waited for by its
# number: `wait -n` may lose the status of one of two that end together.)
side_by_side() {
    local item pids=()
    for item in "${@:2}"; do
        fewer_than "$jobs"
        set -m
        "$1" "$item" </dev/null &
        set +m # which would tell of every end
        pids+=($!)
    done
    fewer_than 1
}

fewer_than() { # fewer_than N: waits until fewer of $pids than N run
    local pid left
    while ((${#pids[@]} >= $1)); do
        left=()
        for pid in "${pids[@]}"; do
            if kill -0 "$pid" 2>/dev/null; then left+=("$pid"); else wait "$pid" || die "stopped: the failure is above"; fi
        done
        pids=("${left[@]}")
        ((${#pids[@]} < $1)) || sleep 0.2
    done
}
