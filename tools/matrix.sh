#!/usr/bin/env bash
# The tests that the arguments select, and whether the migrations are complete, on each supported
# Python and Django that this machine can offer.
#   tools/matrix.sh -m "not slow"
# Each pair gets a throw-away environment, so .venv stays as it is. A Python that is not installed
# is named and skipped; at least one pair has to run.
set -euo pipefail
cd "$(dirname "$0")/.."

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
        with_both=(env PYTHON="$python" DJANGO_SETTINGS_MODULE=tests.settings
            tools/uv run --quiet --frozen --isolated --with "django==$django.*" python -m)
        "${with_both[@]}" django makemigrations --check --dry-run &&
            "${with_both[@]}" pytest tests -q "$@" || failed+=("$version/$django")
    done
done

printf '== %d pairs run, failed: %s\n' "$ran" "${failed[*]:-none}"
[ "$ran" -gt 0 ] && [ "${#failed[@]}" -eq 0 ]
