#!/usr/bin/env bash
# Builds the fuzz targets with stable Rust and runs them from what the repository has, the same way each time.
#
#   fuzz/run.sh [TARGET...] [--runs N | --seconds N]
#
# Without TARGET all of them, 3,000 runs each or as many as three seconds allow. With --seconds the inputs that were found are
# kept in fuzz/target/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=3000
seconds=
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --runs) runs=${2:?"--runs N"} && shift ;;
        --seconds) seconds=${2:?"--seconds N"} && shift ;;
        -*) sed -n '2,7s/^# \?//p' "$0" >&2 && exit 2 ;;
        *) targets+=("$1") ;;
    esac
    shift
done
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

readonly built=fuzz/target
host=$(rustc -vV | sed -n 's/^host: //p')
chosen=()
for target in "${targets[@]}"; do
    chosen+=(--bin "$target")
done

# What cargo-fuzz passes without a sanitizer. It needs --target, so that build scripts and macros are not watched as well.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
start=$SECONDS
cargo build --release --locked --manifest-path fuzz/Cargo.toml --target-dir "$built" --target "$host" "${chosen[@]}"
printf 'built in %d s\n' "$((SECONDS - start))"

# In memory where that is possible: some targets write a file for each input, and flush it.
scratch=$(mktemp -d --tmpdir=/dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export FUZZ_SCRATCH=$scratch
python3 fuzz/seeds.py "$scratch/seeds"

for target in "${targets[@]}"; do
    findings=$built/findings/$target
    corpus=$scratch/corpus/$target
    how=(-runs="$runs" -max_total_time=3)
    if [ -n "$seconds" ]; then
        corpus=$built/corpus/$target
        how=(-max_total_time="$seconds")
    fi
    mkdir -p "$findings" "$corpus" "$scratch/seeds/$target"
    binary=$built/$host/release/$target
    log=$scratch/$target.log
    start=$SECONDS
    if "$binary" "${how[@]}" -seed=1 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$findings/" \
        "$corpus" "$scratch/seeds/$target" >"$log" 2>&1; then
        printf '%-20s %9d runs in %d s\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$((SECONDS - start))"
    else
        tail -n 40 "$log" >&2
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        printf '\n%s: a finding. Again: %s %s\n' "$target" "$binary" "$input" >&2
        exit 1
    fi
done
