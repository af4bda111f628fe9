#!/usr/bin/env bash
# Install the Debian packages named as arguments, if any is missing: what the tests start themselves.
#   tools/packages.sh chromium chromium-driver
# Without root, a password-less sudo, or apt: says what is missing and lets the tests that need it
# skip. With CI=true that is a failure, because a skipped test proves nothing.
set -euo pipefail

say() { printf 'packages: %s\n' "$*" >&2; }

missing_of() { # prints those of the arguments that are not installed
    local package
    for package in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
            printf '%s ' "$package"
        fi
    done
}

give_up() {
    say "*** NOT INSTALLED: $missing"
    say "*** $1"
    if [ "${CI:-}" = true ]; then
        exit 1
    fi
    say "*** the tests that need them will be SKIPPED"
    exit 0
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    missing="$*"
    give_up "this is no Debian system: install the like of these yourself"
fi
missing=$(missing_of "$@")
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env)
else
    give_up "this needs root: sudo apt-get install $missing"
fi

say "installing $missing"
install_missing() { # word splitting of $missing is wanted: one argument a package
    "${as_root[@]}" apt-get -qq update &&
        "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install $missing >/dev/null
}
install_missing || give_up "apt-get failed (its message is above)"
