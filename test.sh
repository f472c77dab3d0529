#!/usr/bin/env bash
# Installs what the tests need, runs the fuzz targets for a minute, and then every test of the workspace. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

# need COMMAND PACKAGE: installs the Debian package when the command is not there.
need() {
    command -v "$1" >/dev/null && return 0
    say "installing $2 for $1"
    need_package "$2"
}

# need_package PACKAGE: installs it, or says that somebody must.
need_package() {
    if command -v apt-get >/dev/null; then
        # A fresh machine has no list of packages yet.
        as_root apt-get update || true
        if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"; then
            return 0
        fi
    fi
    echo "$1 could not be installed: install it, then start again" >&2
    return 1
}

if ! command -v cargo >/dev/null; then
    echo "Rust is missing: see https://rustup.rs, 1.90 or newer" >&2
    exit 1
fi
need cc gcc                       # the parts of ring, and SQLite for the benches
need g++ g++                      # libFuzzer
need python3 python3               # the second reader of the golden vectors
# need_module MODULE: installs a module of Python below the target directory when it is not there.
modules=${CARGO_TARGET_DIR:-target}/python-modules
need_module() {
    python3 -c "import $1" 2>/dev/null && return 0
    say "installing the Python module $1"
    python3 -m pip --version >/dev/null 2>&1 || need pip3 python3-pip
    python3 -m pip install --quiet --target "$modules" "$1" && python3 -c "import $1"
}

# Programs that share no code with ours check what an auditor is given.
mkdir -p "$modules"
PYTHONPATH=$(cd "$modules" && pwd)${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
need_module cryptography
need_module pymerkle
need go golang-go                 # runs the Go project's own reader of signed notes and of logs in tiles
[ -d /usr/share/gocode/src/golang.org/x/mod ] || need_package golang-golang-x-mod-dev
need age age                      # opens what is handed to a data subject
need setpriv util-linux           # a second person at the control socket
need systemd-analyze systemd      # checks the units

say "the mail servers of the tests"
tests/servers.sh

say "the fuzz targets"
fuzz/run.sh

say "cargo test"
exec cargo test --workspace --locked "$@"
