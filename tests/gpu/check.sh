#!/bin/sh
# What a GPU has to show, in at most eight minutes: one table, and exit code 1 where something failed.
#
#     tests/gpu/check.sh [--shared FOLDER]      PYTHON=... names the interpreter; FOLDER has models/ and data/
#
# Without a GPU it says so and ends well; without PyTorch, which alone could tell, it fails.
set -eu
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
if ! "$python" -c 'import torch' 2> /dev/null; then
    echo "failed: '$python' has no PyTorch; PYTHON=... names an interpreter that has" >&2
    exit 1
fi
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "skipped: torch sees no CUDA device here"
    exit 0
fi
PYTHONPATH="$PWD:$PWD/tests" exec "$python" tests/gpu/check.py "$@"
