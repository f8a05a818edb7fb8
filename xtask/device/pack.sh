#!/usr/bin/env bash
#
# Packs what check.sh needs on a machine with a GPU that has neither Rust nor a network into one archive of at most 64 MiB.
#
#     xtask/device/pack.sh PROGRAM ARCHIVE.tar.gz
#
# PROGRAM is target/release/rankle, built with --features cuda (stripped, as every release here). In the archive are the program,
# the two MNIST models with their records, the test images, the plan of the MNIST tables and the scripts for PyTorch.
set -euo pipefail

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

[[ $# -eq 2 && $1 != -* ]] || { echo "usage: ${0##*/} PROGRAM ARCHIVE.tar.gz" >&2; exit 2; }
[[ -f $1 && -x $1 ]] || fail "$1 is no program: cargo build --release --features cuda -p rankle"
program=$(realpath -- "$1") archive=$(realpath -m -- "$2")
cd -- "$(dirname -- "$0")/../.."

readonly FILES=(
    xtask/device/{check.sh,compare.py,pytorch.py}
    xtask/bench/{attacks,common,networks,steps}.py
    xtask/plans/mnist.toml
    models/mnist-c2f2-cosine-triplet{,-est}/{card.toml,model.safetensors,records.jsonl}
    datasets/mnist/{manifest.toml,t10k-images-idx3-ubyte.gz,t10k-labels-idx1-ubyte.gz}
)
mkdir -p -- "$(dirname -- "$archive")"
tar --create --gzip --file "$archive" --owner=0 --group=0 "${FILES[@]}" \
    --transform 's,^.*/rankle$,rankle,' --absolute-names "$program"
size=$(stat --format=%s -- "$archive")
echo "$archive: $size bytes"
((size <= 64 * 1024 * 1024)) || fail "the archive is larger than 64 MiB: is the program stripped?"
