#!/bin/sh
# Measures the model of this folder here: ./benchmark.sh --threads 4; all options: --help
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
program=$here/bin/edgekit-bench-$(uname -m)-linux-gnu
if [ ! -x "$program" ]; then
  echo "Error: there is no benchmark binary for $(uname -m) in $here/bin" >&2
  exit 5
fi
[ "${1:-}" != --help ] || exec "$program" --help
# Where it finds the runtime library that install.sh brought.
VIRTUAL_ENV=$here/.venv exec "$program" "$here/@model@" "$@"
