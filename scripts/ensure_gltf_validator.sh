#!/bin/sh
# The Khronos glTF validator for the test of exported GLB files: puts it into the virtual environment, once.
# Where npm's packages cannot be reached it says so, and the test is skipped.
set -eu

venv="${1:?usage: ensure_gltf_validator.sh VENV}"
package="gltf-validator"
version="2.0.0-dev.3.10"

if [ -f "$venv/lib/node_modules/$package/package.json" ] &&
    grep -q "\"version\": *\"$version\"" "$venv/lib/node_modules/$package/package.json"; then
    exit 0
fi

# node and npm come with requirements-dev.txt.
PATH="$(cd "$venv/bin" && pwd):$PATH"
export PATH
if ! npm install --global --prefix "$venv" --no-fund --no-audit --loglevel=error --fetch-retries=1 \
    "$package@$version" >&2; then
    echo "$package could not be installed; the test that needs it is skipped." >&2
fi
