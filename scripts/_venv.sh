# Sourced by the other scripts: go to the repository, and have .venv ready there.
#
#   . "$(dirname "$0")/_venv.sh"
#   ensure_venv test data      # installs wopr in place, with these extras
#
# A second call with nothing changed costs a few milliseconds: .venv/.wopr-* remembers
# the checksum of what was installed. Set PYTHON to choose the interpreter of a new .venv.
# $called_from is the directory of the caller.

called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1
# pyright: no network call just to say that there is a newer version.
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1

_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

_find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if _recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "wopr needs Python 3.11 or newer; found: $(python3 --version 2>&1 || echo none)." >&2
    echo "Install one, or name it: PYTHON=/path/to/python3.12 $0" >&2
    return 1
}

_create_venv() {
    local python
    python=$(_find_python) || exit 1
    echo "Creating .venv with $("$python" --version) ..." >&2
    rm -rf .venv
    "$python" -m venv --without-pip .venv
}

# Debian splits ensurepip off into python3-venv; then another Python's pip does its job.
_ensure_pip() {
    .venv/bin/python -c 'import pip' 2>/dev/null ||
        .venv/bin/python -m ensurepip >/dev/null 2>&1 ||
        "$(_find_python)" -m pip --python .venv/bin/python install -qq pip
}

ensure_venv() {
    local extras stamp sum
    extras=$(IFS=,; echo "$*")
    if ! _recent .venv/bin/python; then
        _create_venv
    fi
    stamp=".venv/.wopr-${extras:-core}"
    sum=$(cat pyproject.toml constraints.txt | cksum)" $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]; then
        echo "Installing wopr${extras:+[$extras]} into .venv ..." >&2
        _ensure_pip
        .venv/bin/python -m pip install -qq --constraint constraints.txt \
            --editable ".${extras:+[$extras]}" >&2
        echo "$sum" >"$stamp"
    fi
}

# The dashboard's tests look at it in a browser. CI gets one where it can; without one they say
# loudly that they did not run.
ensure_chromium() {
    if [ -z "${CI-}" ] || [ -n "${CHROMIUM-}" ] || [ "$(id -u)" -ne 0 ]; then
        return
    fi
    if command -v chromium chromium-browser google-chrome >/dev/null || ! command -v apt-get >/dev/null; then
        return
    fi
    echo "Installing a Chromium for the tests of the dashboard ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 ||
        echo "No Chromium could be installed: the tests in tests/web/browser will not run." >&2
}
