"""PyTorch's side of check.sh: steps of PGD and the cells of the MNIST tables, in float32 and, on a card, with TF32.

The networks and losses are those of `cargo xtask bench --against-pytorch`, in the folder beside this one.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import torch
from attacks import candidate_vectorized, query_vectorized
from common import mnist, some_items
from networks import network
from steps import GALLERY, nearest

EPSILON, STEP, WARM_UP = 0.3, 0.01, 5


def set_tf32(on):
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def descend(x, images, epsilon, step, steps, slope):
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    for _ in range(steps):
        x = (x.detach() - step * slope(x.detach().requires_grad_()).sign()).clamp(low, high)
    return x.detach()


def steps(args, device, variant):
    """The embedding shift, as `--attack es`, for each number of images."""
    net = network("c2f2", f"{args.model}/model.safetensors").to(device).requires_grad_(False)
    model = net if variant == "eager" else torch.compile(net, dynamic=False)
    for images, count in args.steps:
        clean_images = mnist(images)[0].to(device)
        with torch.no_grad():
            clean = net(clean_images)
        start = (clean_images + EPSILON * (2 * torch.rand_like(clean_images) - 1)).clamp(0, 1)

        def slope(x, clean=clean):
            return torch.autograd.grad(((model(x) * clean).sum(1) - 1).sum(), x)[0]

        descend(start, clean_images, EPSILON, STEP, WARM_UP, slope)
        wait(device)
        began = time.perf_counter()
        descend(start, clean_images, EPSILON, STEP, count, slope)
        wait(device)
        ms = 1e3 * (time.perf_counter() - began) / count
        yield {"part": "step", "variant": variant, "images": images, "steps": count, "ms": ms}


def tables(args, device):
    """All cells of the records, without loops over images. The attacks with a minus cost what those with a plus cost."""
    began, cells, clean = time.perf_counter(), 0, {}
    everything = mnist(GALLERY)[0].to(device)
    for folder in (args.model, f"{args.model}-est"):
        net = network("c2f2", f"{folder}/model.safetensors").to(device).requires_grad_(False)
        with torch.no_grad():
            gallery = torch.cat([net(part) for part in everything.split(1000)])
        images = everything[: args.cells]
        for line in Path(folder, "records.jsonl").read_text().splitlines():
            cell = json.loads(line)
            targets = some_items(args.cells, cell["targets"], GALLERY).to(device)
            if cell["attack"].startswith("ca"):
                slope = candidate_vectorized(net, gallery, targets)
            else:
                slope = query_vectorized(net, gallery, targets, nearest_on(device, gallery, args.cells, clean, folder))
            x = descend(images, images, cell["epsilon"], cell["step"], cell["iterations"], slope)
            with torch.no_grad():
                ranks(net(x), gallery, targets, cell["attack"].startswith("ca")).item()
            cells += 1
    wait(device)
    yield {"part": "tables", "variant": "eager", "cells": cells, "images": args.cells, "seconds": time.perf_counter() - began}


def nearest_on(device, gallery, images, known, folder):
    """The five nearest items of each image, found once for a model."""
    if folder not in known:
        known[folder] = nearest(gallery.cpu(), range(images)).to(device)
    return known[folder]


def ranks(points, gallery, targets, candidate):
    if candidate:
        queries = gallery[targets]
        to_candidate = 1 - (points.unsqueeze(1) * queries).sum(2)
        return ((1 - queries @ gallery.T) < to_candidate.unsqueeze(2)).float().mean()
    to_gallery = 1 - points @ gallery.T
    return (to_gallery.unsqueeze(1) < to_gallery.gather(1, targets).unsqueeze(2)).float().mean()


def pair(text):
    images, steps = map(int, text.split(":"))
    return images, steps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", required=True, help="folder of the undefended model")
    parser.add_argument("--steps", type=pair, nargs="+", required=True, metavar="IMAGES:STEPS")
    parser.add_argument("--cells", type=int, required=True, help="images of each cell of the tables; 0 leaves them out")
    parser.add_argument("--variants", nargs="+", default=["eager", "compile"], choices=["eager", "compile"])
    args = parser.parse_args()
    device = torch.device(args.device)
    # On the CPU there is no TF32.
    modes = (False, True) if device.type == "cuda" else (None,)
    parts = [(steps, tf32, variant) for variant in args.variants for tf32 in modes]
    if args.cells:
        parts[len(modes) : len(modes)] = [(tables, tf32, None) for tf32 in modes]
    for run, tf32, variant in parts:
        set_tf32(bool(tf32))
        torch._dynamo.reset()
        for line in run(args, device) if variant is None else run(args, device, variant):
            print(json.dumps({"side": f"PyTorch {torch.__version__}", "tf32": tf32} | line), flush=True)


if __name__ == "__main__":
    main()
