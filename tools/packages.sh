#!/usr/bin/env bash
# Install the Debian packages named as arguments, if any is missing: what the tests start themselves.
#   tools/packages.sh chromium valkey-server,redis-server
# Of names joined by commas one is enough: the first that can be had, from backports if need be.
# Without root, a password-less sudo, or apt: says what is missing and lets the tests that need it
# skip. With CI=true that is a failure, because a skipped test proves nothing.
set -euo pipefail

readonly POLICY=/usr/sbin/policy-rc.d
readonly MARK="from tools/packages.sh, for as long as it installs"

sources=() # options of apt; see add_backports
folder=
held=

say() { printf 'packages: %s\n' "$*" >&2; }

clean_up() {
    [ -z "$folder" ] || rm -rf "$folder"
    [ -z "$held" ] || "${as_root[@]}" rm -f "$POLICY"
}
trap clean_up EXIT

give_up() { # <packages> <reason>
    say "*** NOT INSTALLED: $1"
    say "*** $2"
    if [ "${CI:-}" = true ]; then
        exit 1
    fi
    say "*** the tests that need them will be SKIPPED"
    exit 0
}

# --- what is missing ------------------------------------------------------------------------------

installed() { # <names>: is one of them?
    local name
    for name in ${1//,/ }; do
        if dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed; then
            return
        fi
    done
    return 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    give_up "$*" "this is no Debian system: install the like of these yourself"
fi
missing=()
for names in "$@"; do
    installed "$names" || missing+=("$names")
done
if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env)
else
    give_up "${missing[*]}" "this needs root: sudo tools/packages.sh ${missing[*]}"
fi

# --- where it can be had --------------------------------------------------------------------------

run_apt() { # <program> <arguments>
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive "$1" ${sources[@]+"${sources[@]}"} "${@:2}"
}

to_be_had() { # read to the end: a reader that stops early would end apt-cache with an error
    run_apt apt-cache policy "$1" | grep 'Candidate: [^(]' >/dev/null
}

backports_of() { # <codename> <source file>: the file's own entry of that suite, turned to backports
    case "$2" in
    *.sources)
        awk -v suite="$1" 'BEGIN { RS = ""; FS = "\n" }
            ("\n" $0 "\n") ~ ("\nSuites:([^\n]*[ \t])?" suite "([ \t][^\n]*)?\n") {
                for (i = 1; i <= NF; i++)
                    if ($i ~ /^Suites:/) print "Suites: " suite "-backports"
                    else if ($i ~ /^Types:/) print "Types: deb"
                    else if ($i !~ /^#/) print $i
                exit
            }' "$2"
        ;;
    *)
        awk -v suite="$1" '$1 == "deb" {
            for (i = 2; i <= NF; i++)
                if ($i == suite) { $i = suite "-backports"; print; exit }
        }' "$2"
        ;;
    esac
}

add_backports() { # for this run only: apt reads a copy of its sources with one entry more
    local codename file entry
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    for file in /etc/apt/sources.list.d/debian.{sources,list} /etc/apt/sources.list; do
        if [ -n "$codename" ] && [ -f "$file" ] && entry=$(backports_of "$codename" "$file") &&
            [ -n "$entry" ]; then
            folder=$(mktemp -d)
            chmod 755 "$folder"
            cp /etc/apt/sources.list.d/*.{sources,list} "$folder" 2>/dev/null || true
            printf '%s\n' "$entry" >"$folder/tests-backports.${file##*.}"
            sources=(-o "Dir::Etc::SourceParts=$folder")
            run_apt apt-get -qq update && return
            sources=()
            return
        fi
    done
}

pick() { # sets picked and nowhere; the first name of an argument is worth a look into backports
    local names name
    picked=()
    nowhere=()
    for names in "${missing[@]}"; do
        if [ "$names" != "${names#*,}" ] && [ -z "$folder" ] && ! to_be_had "${names%%,*}"; then
            add_backports
        fi
        for name in ${names//,/ }; do
            if to_be_had "$name"; then
                picked+=("$name")
                continue 2
            fi
        done
        nowhere+=("$names")
    done
}

# --- installing -----------------------------------------------------------------------------------

hold_services() { # installing starts nothing; a policy that is there already is not ours to change
    if [ ! -e "$POLICY" ] || grep -qF "$MARK" "$POLICY"; then
        held=yes
        printf '#!/bin/sh\n# %s\nexit 101\n' "$MARK" | "${as_root[@]}" tee "$POLICY" >/dev/null
        "${as_root[@]}" chmod 755 "$POLICY"
    fi
}

run_apt apt-get -qq update || give_up "${missing[*]}" "apt-get failed (its message is above)"
pick
if [ "${#picked[@]}" -gt 0 ]; then
    say "installing ${picked[*]}"
    hold_services
    run_apt apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        install "${picked[@]}" >/dev/null ||
        give_up "${picked[*]}" "apt-get failed (its message is above)"
fi
if [ "${#nowhere[@]}" -gt 0 ]; then
    give_up "${nowhere[*]}" "no source of this machine's apt has them"
fi
