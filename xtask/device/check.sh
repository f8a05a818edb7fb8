#!/usr/bin/env bash
#
# Checks rankle on a GPU against the CPU, and times it beside PyTorch, in at most five minutes. README.md explains the output.
#
#     bash xtask/device/check.sh [NAME=VALUE]...
#
#   DEVICE=cuda                the device, as for --device
#   PROGRAM=./rankle           the driver
#   PARITY=100                 images of each cell that both devices compute
#   SIZES="100 1000 10000"     images in one step of PGD
#   STEPS=0                    steps under the clock; 0: 100,000 images' worth, 20 to 1,000
#   CELLS=1000                 images of each of the 160 cells of the MNIST tables; 0 leaves the tables out
#   EPSILON=0.1                the perturbation of the cells that are compared
#   VARIANTS="eager compile"   how PyTorch's steps are run; none leaves PyTorch out
#   PYTHON=python3             one that has numpy, and PyTorch for its side
#   LIMIT=300                  seconds for everything
#   OUT=target/device          folder for results.jsonl, records and messages
#
# Runs in the folder with the contents of pack.sh's archive, or in the root of the repository. Exit codes: 0 done; 1 the devices
# disagree, or a part failed; 2 the arguments are wrong.
set -euo pipefail

DEVICE=cuda PROGRAM=./rankle PARITY=100 SIZES="100 1000 10000" STEPS=0 CELLS=1000 EPSILON=0.1 PYTHON=python3 LIMIT=300
OUT=target/device VARIANTS="eager compile"
for argument in "$@"; do
    case $argument in
        DEVICE=?* | PROGRAM=?* | PARITY=?* | SIZES=?* | STEPS=?* | CELLS=?* | EPSILON=?* | PYTHON=?* | LIMIT=?* | OUT=?* | VARIANTS=?*)
            printf -v "${argument%%=*}" '%s' "${argument#*=}"
            ;;
        *)
            echo "${0##*/}: $argument: no such argument, see the head of the script" >&2
            exit 2
            ;;
    esac
done

readonly HERE=xtask/device MODEL=models/mnist-c2f2-cosine-triplet
mkdir -p "$OUT"
rm -rf "$OUT"/{results.jsonl,said.txt,tables,cpu.*,device.*}
: >"$OUT/results.jsonl"
failed=0

# The libraries of CUDA that come with PyTorch, behind those that are there.
libraries=$("$PYTHON" -c 'import glob, nvidia; print(":".join(d for p in nvidia.__path__ for d in sorted(glob.glob(p + "/*/lib"))))' \
    2>/dev/null) || libraries=
[[ -d /usr/local/nvidia/lib64 ]] && libraries+=${libraries:+:}/usr/local/nvidia/lib64
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries

# within COMMAND...: runs it within the seconds that are left.
within() {
    local left=$((LIMIT - SECONDS))
    ((left > 0)) || { echo "no time is left" >&2; return 124; }
    timeout --kill-after=5 "$left" "$@"
}

# result JSON...: JSON lines, printed and kept.
result() {
    printf '%s\n' "$@" | tee -a "$OUT/results.jsonl"
}

# part NAME COMMAND...: a part whose standard output is JSON lines. A failure is one of them, and the others go on.
part() {
    local name=$1 said="$OUT/said.txt" status
    shift
    set +e # in a condition, bash would ignore it inside the part as well
    (set -e; "$@") 2>"$said" >"$OUT/lines"
    status=$?
    set -e
    tee -a "$OUT/results.jsonl" <"$OUT/lines"
    if ((status != 0)); then
        failed=1
        result "$("$PYTHON" -c 'import json, sys; print(json.dumps({"part": sys.argv[1], "failed": int(sys.argv[2]), "said": sys.argv[3]}))' \
            "$name" "$status" "$(tail -n 1 "$said" | cut -c 1-400)")"
    fi
}

machine() {
    local card
    card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1) || card=
    "$PYTHON" -c 'import json, os, sys; print(json.dumps({"part": "machine", "device": sys.argv[1], "card": sys.argv[2] or None, "cores": os.cpu_count(), "program": sys.argv[3]}))' \
        "$DEVICE" "$card" "$("$PROGRAM" --version)"
}

# All attacks and both distances on the two devices, then the pixels after a single step.
parity() {
    local device name
    "$PYTHON" $HERE/compare.py plan --images "$PARITY" --epsilon "$EPSILON" --model $MODEL >"$OUT/plan.jsonl"
    for name in cpu device; do
        device=$([[ $name == cpu ]] && echo cpu || echo "$DEVICE")
        within "$PROGRAM" sweep --quiet --plan "$OUT/plan.jsonl" --records "$OUT/$name.jsonl" --image-ranks --device "$device" >/dev/null
        within "$PROGRAM" attack --quiet --dataset mnist --model $MODEL --attack qa+ --epsilon "$EPSILON" --iterations 1 \
            --images "$PARITY" --save-adversarial "$OUT/$name.safetensors" --device "$device" --format json >/dev/null
    done
    "$PYTHON" $HERE/compare.py parity "$OUT/cpu" "$OUT/device"
}

# spent IMAGES STEPS: seconds of an attack by all images at once.
spent() {
    within "$PROGRAM" attack --quiet --dataset mnist --model $MODEL --attack es --epsilon 0.3 --step 0.01 --iterations "$2" \
        --images "$1" --batch-size "$1" --device "$DEVICE" --format json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["seconds"])'
}

# steps_of IMAGES: steps under the clock.
steps_of() {
    local steps=$((STEPS == 0 ? 100000 / $1 : STEPS))
    ((STEPS > 0)) || steps=$((steps < 20 ? 20 : steps > 1000 ? 1000 : steps))
    echo "$steps"
}

# The time of a step is the difference of a long and a short attack: loading, clean embeddings and ranks are in both.
step() {
    local images=$1 steps=$2 short long
    short=$(spent "$images" 2)
    long=$(spent "$images" $((2 + steps)))
    "$PYTHON" -c 'import json, sys; images, steps, short, long = map(float, sys.argv[1:5]); print(json.dumps({"part": "step", "side": "rankle", "images": int(images), "steps": int(steps), "ms": 1e3 * (long - short) / steps}))' \
        "$images" "$steps" "$short" "$long"
}

tables() {
    local start end
    start=$(date +%s.%N)
    within "$PROGRAM" run --quiet xtask/plans/mnist.toml --images "$CELLS" --output "$OUT/tables" --device "$DEVICE" --format json >"$OUT/tables.json"
    end=$(date +%s.%N)
    "$PYTHON" $HERE/compare.py tables "$OUT/tables" --images "$CELLS" --seconds "$("$PYTHON" -c "print($end - $start)")"
}

# All in one process, the compiled steps last.
pytorch() {
    local device=cpu images pairs=()
    [[ $DEVICE == cuda* ]] && device=$DEVICE
    for images in $SIZES; do pairs+=("$images:$(steps_of "$images")"); done
    within "$PYTHON" $HERE/pytorch.py --device "$device" --model $MODEL --cells "$CELLS" --steps "${pairs[@]}" --variants $VARIANTS
}

part machine machine
part parity parity
for images in $SIZES; do
    part "step of $images" step "$images" "$(steps_of "$images")"
done
((CELLS == 0)) || part tables tables
[[ $VARIANTS == none ]] || part PyTorch pytorch
rm -f "$OUT/lines"
echo
"$PYTHON" $HERE/compare.py table "$OUT/results.jsonl"
exit "$failed"
