#!/usr/bin/env bash
# Installs the three mail servers of the tests: Dovecot from Debian's packages; Cyrus and Courier, which Debian lets nobody
# install beside it, unpacked into a private root under the target directory; and an SMTP server for notices. Quick when all is there. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

root="${CARGO_TARGET_DIR:-target}/mail-servers"
# Raised when the lists below change: the marker of another number is no marker.
edition=2
done_marker="$root/.installed-$edition"

dovecot=(dovecot-imapd)
# A server that takes mail, for notices.
smtp=(python3-aiosmtpd)
# What the tests call themselves, and the libraries of the two that are unpacked.
libraries=(
    openssl util-linux sasl2-bin libsasl2-modules libsasl2-modules-db
    libclamav12 libical3 libicu72 libjansson4 libldap-2.5-0 libpcre3 libpq5 libxapian30 libxml2 libzephyr4
    libcourier-unicode4 libgamin0 libgdbm6 libgnutls30 libidn12 libltdl7
)
cyrus=(cyrus-common cyrus-imapd)
courier=(courier-base courier-imap courier-authlib courier-authdaemon courier-authlib-userdb)

if [ -e "$done_marker" ] && command -v dovecot >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "the mail servers of the tests are installed by root: start ./test.sh as root once" >&2
    exit 1
fi

# A package that starts its service would take ports 143 and 993 of this machine: until it is masked, nothing starts.
policy=/usr/sbin/policy-rc.d
if ! command -v dovecot >/dev/null; then
    systemctl mask dovecot.service dovecot.socket >/dev/null 2>&1 || true
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "${dovecot[@]}" "${smtp[@]}" "${libraries[@]}"

# unpack NAME PACKAGE...
unpack() {
    local name=$1 debs
    shift
    debs=$(mktemp -d)
    chmod 755 "$debs"
    (cd "$debs" && apt-get -o APT::Sandbox::User=root download "$@")
    rm -rf "${root:?}/$name"
    mkdir -p "$root/$name"
    for deb in "$debs"/*.deb; do
        dpkg -x "$deb" "$root/$name"
    done
    rm -r "$debs"
}
mkdir -p "$root"
unpack cyrus "${cyrus[@]}"
unpack courier "${courier[@]}"
: >"$done_marker"
