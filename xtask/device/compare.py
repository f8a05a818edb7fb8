"""Compares records of two devices, and writes the table of check.sh. Needs numpy."""

import argparse
import json
import sys
from pathlib import Path

ATTACKS = ("ca+", "ca-", "qa+", "qa-", "sp-qa+", "sp-qa-", "es")
DISTANCES = ("cosine", "euclidean")
# Columns, and the largest difference between two devices; those of `rankle verify` between two kinds of machines.
BOUNDS = {
    "rank_before": 0.5,
    "rank_after": 0.5,
    "preserved_rank_before": 0.5,
    "preserved_rank_after": 0.5,
    "embedding_shift": 0.02,
    "recall_at_1_before": 1.0,
    "recall_at_1_after": 1.0,
}
# Largest share of pixels that a single step moves to another side: gradients within rounding of 0.
SIGNS = 1e-3


def plan(args):
    for distance in DISTANCES:
        for attack in ATTACKS:
            print(json.dumps({
                "table": "parity", "dataset": "mnist", "model": "c2f2", "weights": f"{args.model}/model.safetensors",
                "distance": distance, "loss": "triplet", "defense": "none", "attack": attack,
                "targets": 0 if attack == "es" else 2, "epsilon": args.epsilon, "protocol": "paper", "eight_bit": False,
                "images": args.images, "seed": 0,
            }))  # fmt: skip


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def tensors(path):
    """The tensors of a safetensors file by their names; float32 ones alone."""
    import numpy as np

    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            first, last = (begin + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(content[first:last], np.float32).reshape(entry["shape"])
    return found


def parity(args):
    """A line for each cell, and one for the pixels after one step."""
    ranks = [tensors(f"{name}.ranks.safetensors") for name in (args.one, args.other)]
    # Tensors are named by the hash of the inputs, which are the same on both devices.
    same = [{key: value} for key, value in ranks[0].items() if key in ranks[1]]
    good = len(same) == len(ranks[0])
    if not good:
        print(json.dumps({"part": "parity", "cells": len(ranks[0]), "of_both_devices": len(same), "agrees": False}))
    for index, (one, other) in enumerate(zip(read(f"{args.one}.jsonl"), read(f"{args.other}.jsonl"), strict=True)):
        assert (one["attack"], one["distance"]) == (other["attack"], other["distance"]), index
        line = {"part": "parity", "attack": one["attack"], "distance": one["distance"], "images": one["images"]}
        line |= {"rank_after_cpu": one["rank_after"], "rank_after": other["rank_after"]}
        over = []
        for column, bound in BOUNDS.items():
            if one.get(column) is None and other.get(column) is None:
                continue
            if one.get(column) is None or other.get(column) is None:
                over.append(column)
                continue
            difference = abs(one[column] - other[column])
            line[f"{column}_difference"] = difference
            # Not `>`: NaN agrees with nothing.
            if not difference <= bound:
                over.append(column)
        line["agrees"] = not over
        good = good and not over
        print(json.dumps(line))
    print(json.dumps({"part": "parity", "images_of_all_cells": images_of_all(*ranks)}))
    one, other = (tensors(f"{name}.safetensors") for name in (args.one, args.other))
    moved = one["adversarial"] - other["adversarial"]
    share = float((~(abs(moved) <= 1e-6)).mean())
    print(json.dumps({"part": "parity", "step": 1, "pixels_apart_share": share, "agrees": share <= SIGNS}))
    if not good or share > SIGNS:
        sys.exit("the devices disagree: see the lines with agrees false")


def images_of_all(one, other):
    """How far single images of all cells are apart, in percent of the gallery."""
    import numpy as np

    apart = np.concatenate([abs(one[name] - other[name]).ravel() for name in one if name in other] or [np.zeros(0)])
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return None
    return {
        "ranks": len(apart),
        "equal_share": float((apart == 0).mean()),
        "within_1_share": float((apart <= 1).mean()),
        "mean": float(apart.mean()),
        "largest": float(apart.max()),
    }


def tables(args):
    """Time of all cells, and how far their ranks are from the committed ones of the CPU."""
    cells = read(f"{args.folder}/records.jsonl")
    known = {}
    for folder in ("mnist-c2f2-cosine-triplet", "mnist-c2f2-cosine-triplet-est"):
        for record in read(f"models/{folder}/records.jsonl"):
            known[key(record)] = record["rank_after"]
    apart = [abs(cell["rank_after"] - known[key(cell)]) for cell in cells if key(cell) in known]
    line = {"part": "tables", "side": "rankle", "cells": len(cells), "images": args.images, "seconds": args.seconds}
    line["seconds_of_cells"] = sum(cell["seconds"] for cell in cells)
    if apart:
        line |= {"compared": len(apart), "largest_rank_difference": max(apart), "agrees": max(apart) <= BOUNDS["rank_after"]}
    print(json.dumps(line))
    if apart and not line["agrees"]:
        sys.exit("a cell is further from its record than the tolerance")


def key(record):
    return tuple(record[name] for name in ("weights_sha256", "attack", "targets", "epsilon", "images", "seed"))


def table(args):
    everything = read(args.results)
    lines, failed = ([line for line in everything if ("failed" in line) == wanted] for wanted in (False, True))
    say = print
    for line in lines:
        if line["part"] == "machine":
            say(f"{line['card'] or 'no card'}, {line['cores']} cores, {line['program']}, --device {line['device']}")
    cells = [line for line in lines if "attack" in line]
    if cells:
        say("\nparity                   rank, %, cpu     device   shift apart   agrees")
    for line in cells:
        before, after = (("-" if rank is None else f"{rank:.3f}") for rank in (line["rank_after_cpu"], line["rank_after"]))
        shift = line.get("embedding_shift_difference", 0.0)
        say(f"{line['attack']:<8}{line['distance']:<12}{before:>17}{after:>11}{shift:>14.2e}   {'yes' if line['agrees'] else 'NO'}")
    steps = [line for line in lines if line["part"] == "step"]
    if steps:
        sizes = sorted({line["images"] for line in steps})
        say("\nms for a PGD step" + " " * 15 + "".join(f"{size:>12}" for size in sizes) + "   images")
        for side in dict.fromkeys(map(side_of, steps)):
            of = {line["images"]: line["ms"] for line in steps if side_of(line) == side}
            say(f"{side:<32}" + "".join(f"{of[size]:>12.3f}" if size in of else f"{'-':>12}" for size in sizes))
    whole = [line for line in lines if line["part"] == "tables"]
    if whole:
        say("\nthe MNIST tables                     cells     images    seconds")
    for line in whole:
        say(f"{side_of(line):<32}{line['cells']:>10}{line['images']:>11}{line['seconds']:>11.1f}")
    for line in failed:
        say(f"\nFAILED ({line['failed']}): {line['part']}: {line['said']}")


def side_of(line):
    tf32 = {True: ", TF32", False: ", f32", None: ""}[line.get("tf32")]
    return " ".join(filter(None, [line["side"], line.get("variant")])) + tf32


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("plan", help="prints the cells that both devices compute")
    part.add_argument("--images", type=int, required=True)
    part.add_argument("--epsilon", type=float, required=True)
    part.add_argument("--model", required=True, help="folder of the model")
    part.set_defaults(run=plan)
    part = parts.add_parser("parity", help="compares the files NAME.jsonl, NAME.ranks.safetensors and NAME.safetensors")
    part.add_argument("one")
    part.add_argument("other")
    part.set_defaults(run=parity)
    part = parts.add_parser("tables", help="sums a run up")
    part.add_argument("folder")
    part.add_argument("--images", type=int, required=True)
    part.add_argument("--seconds", type=float, required=True)
    part.set_defaults(run=tables)
    part = parts.add_parser("table", help="prints the lines for people")
    part.add_argument("results")
    part.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
