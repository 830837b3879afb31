#!/bin/sh
# Makes the virtual environment: `sh deploy/bootstrap.sh python3 .venv`. Needs Python 3.11 or newer with venv and pip.
set -eu
python=$1
venv=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "anju: $python is older than 3.11; name a newer one: make PYTHON=python3.12 demo" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null && [ ! -x "$venv/bin/pip" ]; then
    # Debian and Ubuntu keep venv in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "anju: installing python3-venv"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        echo "anju: Python has no venv here; run: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "anju: installing the pinned dependencies (once, a minute or two)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
