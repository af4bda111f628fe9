#!/usr/bin/env bash
# Put mysqlclient into .venv, which builds it: that needs the client library, its headers, and those
# of Python. Without them: says so, and lets the tests that need it skip; a failure with CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

give_up() {
    printf 'mysql: *** mysqlclient is NOT INSTALLED: %s\n' "$1" >&2
    if [ "${CI:-}" = true ]; then
        exit 1
    fi
    printf 'mysql: *** the tests on MariaDB will be SKIPPED\n' >&2
    exit 0
}

if ! command -v mariadb_config >/dev/null && ! command -v mysql_config >/dev/null; then
    give_up "neither mariadb_config nor mysql_config is here (Debian: default-libmysqlclient-dev)"
fi
# Debian's own Python keeps its headers in a package apart; every other one brings them along.
headers='import sys, sysconfig, pathlib
if not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists():
    print("python%d.%d-dev" % sys.version_info[:2])'
package=$(.venv/bin/python -c "$headers")
if [ -n "$package" ]; then
    tools/packages.sh "$package"
fi
tools/uv sync --quiet --frozen --inexact --group mysql || give_up "it could not be built (see above)"
