#!/usr/bin/env bash
# The main job on a temporary store: takes in sample exports, plans, approves as a second person, runs, verifies, asks.
# Leaves the daemon running until Ctrl-C. With --once, or with CI set, it ends by itself.
set -euo pipefail
cd "$(dirname "$0")"

readonly SAMPLES=tests/fixtures/ocm
readonly NOBODY=65534
readonly PATIENCE=90 # seconds until a thing that should happen has not happened

once=${CI:-}
if [ "${1:-}" = --once ]; then once=yes; fi

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}
fail() {
    echo "demo: $*" >&2
    if [ -n "${log:-}" ]; then tail -n 20 "$log" >&2; fi
    exit 1
}
# first LETTER: the first name such as P204 in what is read. Reads to the end, so that nobody writes into a closed pipe.
first() {
    awk -v letter="$1" '!found && match($0, letter "[0-9]+") { print substr($0, RSTART, RLENGTH); found = 1 }'
}
# until_true WHAT COMMAND: waits for the command to succeed.
until_true() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then fail "gave up waiting: $what"; fi
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended while waiting: $what"
        sleep 0.2
    done
}

say "build"
cargo build --locked --release -p retentiond -p retentionctl
built=${CARGO_TARGET_DIR:-target}/release

work=$(mktemp -d "${TMPDIR:-/tmp}/retentiond-demo.XXXXXX")
daemon=
log=$work/diagnostics.txt
ended() {
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The second person. Roles hang on the user id that the kernel reports for the caller of the socket, so a second person
# needs a second user id. Nothing in the daemon is told to look away for the demo:
#   root, or sudo without a password   the approver is `nobody`
#   neither                            the schedule asks for the plan, and you are the person who approves it
me=$(id -u)
second=()
socket_group=$(id -gn)
if [ "$me" -eq 0 ]; then
    socket_group=$(getent group "$NOBODY" | cut -d: -f1)
    second=(setpriv --reuid="$NOBODY" --regid="$NOBODY" --clear-groups)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    second=(sudo -n setpriv --reuid="$NOBODY" --regid="$(id -g)" --clear-groups)
fi

say "a temporary store in $work"
chmod 0711 "$work"
mkdir -m 0755 "$work/bin" "$work/run"
mkdir -m 0700 "$work/drop"
# A copy that the second person can reach, wherever the sources lie.
install -m 0755 "$built/retentiond" "$built/retentionctl" "$work/bin/"
mkdir "$work/policies"
cp policies/demo-ocm-contacts.toml "$work/policies/"
if [ "${#second[@]}" -gt 0 ]; then
    approver=$NOBODY
    echo "you (uid $me) plan and run; the second person is uid $NOBODY"
else
    approver=$me
    sed -i 's/^cron *=.*/cron = "* * * * *"/' "$work"/policies/*.toml
    echo "there is no second user id here: the schedule asks for the plan, you (uid $me) approve it"
fi
cat >"$work/config.toml" <<CONFIG
[store]
state_dir = "state"
exports_dir = "exports"
root_key = { file = "root.key" }
[control]
socket = "run/control.sock"
socket_group = "$socket_group"
[control.roles]
auditor = ["uid:$me"]
operator = ["uid:$me"]
approver = ["uid:$approver"]
admin = ["uid:$me"]
[policies]
dir = "policies"
[[source]]
name = "crm"
kind = "ocm"
zone = "UTC"
drop_dir = "drop"
[diagnostics]
target = "stderr"
CONFIG

export PATH="$work/bin:$PATH" RETENTIOND_CONFIG="$work/config.toml" RETENTIOND_SOCKET="$work/run/control.sock"
retentiond=(retentiond)
ctl=(retentionctl)

show "${retentiond[@]}" config check
show "${retentiond[@]}" init
"${retentiond[@]}" run 2>"$log" &
daemon=$!
until_true "the daemon answers" "${ctl[@]}" status
show "${ctl[@]}" status

say "drop the sample exports"
deliveries=0
for export in "$SAMPLES"/*/; do
    name=$(basename "$export")
    # Copied under another name and then renamed, so that the daemon never sees half of it.
    cp -r "$export" "$work/$name"
    mv "$work/$name" "$work/drop/$name"
    deliveries=$((deliveries + 1))
done
taken_in() {
    local done=0 entry
    for entry in "$work"/drop/done/*; do
        if [ -e "$entry" ]; then done=$((done + 1)); fi
    done
    [ "$done" -ge "$deliveries" ]
}
until_true "the exports are taken in" taken_in
show "${ctl[@]}" intake list
show "${ctl[@]}" entity list

say "plan"
show "${ctl[@]}" policy list
if [ "${#second[@]}" -gt 0 ]; then
    show "${ctl[@]}" plan make demo-ocm-contacts
fi
plan=
has_plan() {
    plan=$("${ctl[@]}" plan list --output jsonl | first P)
    [ -n "$plan" ]
}
until_true "there is a plan" has_plan
show "${ctl[@]}" plan show "$plan"

say "approve"
if [ "${#second[@]}" -gt 0 ]; then
    echo "the one who asked may not approve:"
    if show "${ctl[@]}" plan approve "$plan"; then fail "the requester approved their own plan"; fi
    show "${second[@]}" "${ctl[@]}" plan approve "$plan"
else
    show "${ctl[@]}" plan approve "$plan"
fi

say "run"
started=$(show "${ctl[@]}" run start "$plan")
echo "$started"
run=$(first R <<<"$started")
[ -n "$run" ] || fail "no run was started"
show "${ctl[@]}" run watch "$run"

say "verify the bundles, ask the log"
show "${ctl[@]}" export list
"${ctl[@]}" export list --output jsonl | sed -n 's/.*"manifest":"\([0-9a-f]*\)".*/\1/p' >"$work/manifests"
while read -r manifest; do
    show "${ctl[@]}" export verify "$manifest"
done <"$work/manifests"
ls -l "$work"/exports/*/
entity=$("${ctl[@]}" plan items "$plan" --output jsonl | first E)
[ -n "$entity" ] || fail "the plan lists nothing"
echo "what is left of $entity, which was purged:"
show "${ctl[@]}" entity show "$entity" || [ $? -eq 6 ] || fail "what was purged is not gone"
show "${ctl[@]}" entity history "$entity"
show "${ctl[@]}" audit query --run "$run" --oldest-first
show "${ctl[@]}" store verify

if [ -n "$once" ]; then
    say "stop"
    kill -TERM "$daemon"
    code=0
    wait "$daemon" || code=$?
    daemon=
    [ "$code" -eq 0 ] || fail "the daemon ended with $code"
    exit 0
fi
say "the daemon is yours until Ctrl-C"
echo "in another terminal:"
echo "  export PATH=$work/bin:\$PATH RETENTIOND_SOCKET=$RETENTIOND_SOCKET"
echo "  retentionctl --help"
wait "$daemon"
