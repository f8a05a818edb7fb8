"""Times C2F2 in PyTorch: the other side of `cargo xtask bench --against-pytorch`. See README.md."""

import argparse
import json
import sys
import time

from c2f2_torch import formula, mnist, network, restart_with

EAGER, CHANNELS_LAST, COMPILE = VARIANTS = ("eager", "channels_last", "compile")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default=EAGER)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each timing")
    parser.add_argument("--images", default="100,500", help="batch sizes, separated by commas")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--weights", help="safetensors with conv1.weight ... fc1.bias; those of the formula if left out")
    parser.add_argument("--json", default="-", help="where the JSON goes; - is standard output")
    return parser.parse_args()


def measure(step, seconds):
    """Two calls to warm up, then at least five, for at least `seconds`. Milliseconds."""
    step()
    step()
    times = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - before))
    times.sort()
    return {"median_ms": times[len(times) // 2], "minimum_ms": times[0], "repeats": len(times)}


def triplets(labels):
    """Drawn once and kept: per digit n/10 anchors, as many positives and, from the other digits, negatives."""
    import torch

    count = len(labels) // 10
    draw = torch.from_numpy(formula().bits(51_000, 3 * 10 * count).astype("int64")).reshape(10, 3, count)
    chosen = []
    for digit in range(10):
        same, other = (labels == digit).nonzero()[:, 0], (labels != digit).nonzero()[:, 0]
        pools = (same, same, other)
        chosen.append(torch.stack([pool[draw[digit, k] % len(pool)] for k, pool in enumerate(pools)]))
    return torch.cat(chosen, dim=1)


def steps(args, count):
    """The three things that are timed, on the first `count` test images."""
    import torch
    import torch.nn.functional as F

    channels_last = args.variant != EAGER
    images, labels = mnist("t10k", count)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)

    def build():
        return network(args.weights, channels_last)

    def compiled(net):
        return torch.compile(net) if args.variant == COMPILE else net

    frozen = compiled(build().requires_grad_(False))

    def forward():
        with torch.inference_mode():
            frozen(images)

    queries = F.normalize(torch.from_numpy(formula().unit(51_001, count, 1024)), dim=1)
    pixels = images.clone().requires_grad_()

    def pgd_step():
        loss = (1 - (frozen(pixels) * queries).sum(1)).sum()
        torch.autograd.grad(loss, pixels)

    trained = build()
    model = compiled(trained)
    # The fused Adam is the fastest that PyTorch has: every variant gets it.
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3, weight_decay=1e-7, fused=True)
    anchors, positives, negatives = triplets(labels)

    def training_step():
        optimizer.zero_grad()
        u = model(images)
        anchor = u[anchors]
        gap = (anchor * u[negatives]).sum(1) - (anchor * u[positives]).sum(1)
        (gap + 0.2).clamp(min=0).mean().backward()
        optimizer.step()

    return {"c2f2-forward": forward, "c2f2-pgd-step": pgd_step, "c2f2-training-step": training_step}


def main():
    args = arguments()
    restart_with(args.threads, tuned_malloc=args.variant != EAGER)
    import torch

    torch.set_num_threads(args.threads)
    results = []
    for count in map(int, args.images.split(",")):
        for name, step in steps(args, count).items():
            if args.only in name:
                timing = measure(step, args.seconds)
                results.append({"name": name, "variant": args.variant, "images": count, "threads": args.threads} | timing)
                print(f"{name} {args.variant} n={count}: {timing['median_ms']:.1f} ms", file=sys.stderr, flush=True)
    text = json.dumps(results, indent=1)
    if args.json == "-":
        print(text)
    else:
        with open(args.json, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
