#!/bin/sh
# Chromium for the browser tests: does nothing where there is one, installs Debian's otherwise.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done

if ! command -v apt-get >/dev/null 2>&1; then
    echo "The browser tests need Chromium. Install it and put it on the PATH." >&2
    exit 3
fi

# The fonts are what a desktop would have: without any, text is drawn as boxes.
if [ "$(id -u)" -eq 0 ]; then
    run=""
elif command -v sudo >/dev/null 2>&1; then
    run="sudo"
else
    echo "The browser tests need Chromium. Install it as root: apt-get install chromium fonts-dejavu-core" >&2
    exit 3
fi
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -qq
$run apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
