# What `overload`, `soak` and `outage` have in common; each sources it, after `usage` is defined.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used there

name=benches/${0##*/}
say() { printf '%s\n' "$*" >&2; }
fail() {
    say "$name: $*"
    exit 1
}

# Takes `--option N` for each option named, and --pinhole PATH. Numbers are kept under the option's name.
take_options() { # options, separated by spaces; the command line
    local known=" $1 "
    shift
    pinhole=''
    while (($#)); do
        case $1 in
            --help | -h) usage && exit ;;
            --pinhole)
                [[ -x ${2-} ]] || { say "$name: --pinhole needs a program" && exit 2; }
                pinhole=$(realpath "$2") && shift 2
                ;;
            *)
                [[ $known == *" ${1#--} "* ]] || { say "$name: unknown argument $1; see --help" && exit 2; }
                [[ ${2-} =~ ^[1-9][0-9]{0,8}$ ]] || { say "$name: $1 needs a number of at least 1" && exit 2; }
                declare -g "${1#--}=$2" && shift 2
                ;;
        esac
    done
}

need() { # commands, each in the package of its name; or postgresql, whose command is off the path
    local tool missing=() as_root=()
    for tool in "$@"; do
        if [[ $tool == postgresql ]]; then [[ -d /usr/lib/postgresql ]]; else command -v "$tool" >/dev/null; fi ||
            missing+=("$tool")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >&2
}

# Builds what is measured, and what asks it.
build() {
    if [[ -z $pinhole ]]; then
        say "Building pinhole (cargo build --release)"
        cargo build --release --locked --quiet
        pinhole=$PWD/target/release/pinhole
    fi
    cargo build --release --quiet --manifest-path benches/client/Cargo.toml --target-dir target/client
    client=$PWD/target/client/release/pinhole-bench-client
}

# A temporary folder and the processes in `pids` are gone in the end.
pids=()
tidy() {
    if ((${#pids[@]})); then
        # What was stopped cannot end.
        kill -CONT "${pids[@]}" 2>/dev/null || true
        kill "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
    rm -rf "$work"
}
begin() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/pinhole-bench.XXXXXX")
    trap tidy EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # The settings of whoever runs this would change what is measured.
    unset "${!PINHOLE_@}" RUST_LOG
}

eventually() {
    for _ in {1..300}; do
        "$@" && return
        sleep 0.1
    done
    return 1
}

api() { curl -sS --fail-with-body "$@"; }

# `pinhole dev` with the settings of the environment, on $1, which may be 127.0.0.1:0.
start_dev() {
    "$pinhole" dev --data "$work/data" --listen "$1" --s3-listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 \
        >"$work/pinhole.out" 2>"$work/pinhole.err" &
    server=$!
    pids+=("$server")
    eventually grep -qs operations "$work/pinhole.out" || fail "pinhole does not start: $(<"$work/pinhole.err")"
    origin=$(awk '/demo page, API, images/ { sub("/$", "", $NF); print $NF }' "$work/pinhole.out")
    token=$(api "$origin/dev/session" --json '{"user":"alice"}' | jq -r .token)
}

peak_mib() { awk '/^VmHWM:/ { printf "%d\n", $2 / 1024 }' "/proc/$server/status"; }

head_of_table() {
    cat <<END
Date        $(date -u +%F)
Machine     $(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo), $(getconf _NPROCESSORS_ONLN) cores
System      $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), Linux $(uname -r | cut -d- -f1)
Versions    pinhole $(git rev-parse --short HEAD 2>/dev/null || echo unknown)
END
}
