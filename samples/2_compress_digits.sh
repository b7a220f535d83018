#!/bin/sh
# Compress the shipped network, check it, and get ordinary weights back. Half a minute.
#   sh samples/2_compress_digits.sh [FOLDER [OPTIONS OF qtrain compress]]
set -eu
samples=$(dirname "$0")
out=${1:-.}
[ $# = 0 ] || shift

qtrain plan "$samples/digits/digits_cnn_module.pt" --params 720 --input-shape 1,8,8
qtrain compress "$samples/digits/digits_cnn_module.pt" --data "$samples/digits/digits.npz" \
    --params 720 --out "$out/digits.qtrain" "$@"
qtrain report "$out/digits.qtrain" --min-accuracy 0.95 --max-bytes 3KB
qtrain verify "$out/digits.qtrain"
qtrain export "$out/digits.qtrain" --classical --out "$out/digits.safetensors"
