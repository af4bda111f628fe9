#!/usr/bin/env bash
# The fast tests on every supported Python and Django that this machine can offer.
# Each pair gets a throw-away environment, so .venv stays as it is. A Python that is not installed
# is named and skipped; with CI=true at least one pair must have run.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FAST="not slow and not server and not faults and not browser"
ran=0
failed=()

find_python() { # <version>: on PATH, or beside it in pyenv, whose shims work for one version only
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
        if "$candidate" --version >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

for version in 3.12 3.13 3.14; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        printf '== Python %s is not here: skipped\n' "$version"
        continue
    fi
    for django in 6.0 6.1; do
        printf '== Python %s, Django %s\n' "$version" "$django"
        ran=$((ran + 1))
        PYTHON="$python" tools/uv run --quiet --frozen --isolated --with "django==$django.*" \
            python -m pytest tests -q -m "$FAST" "$@" || failed+=("$version/$django")
    done
done

printf '== %d pairs run, failed: %s\n' "$ran" "${failed[*]:-none}"
[ "$ran" -gt 0 ] && [ "${#failed[@]}" -eq 0 ]
