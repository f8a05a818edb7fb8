"""Rows that are a whole piece of work: one cell of an attack table, and one batch of adversarial training.

Each comes in two styles, both our own writing and nobody's published code:

- `research`: as research code is often written. Weights keep their gradients, the loss walks over the images one by one and
  compares with the whole gallery again at every step. Takes minutes, so only some of the steps are made and their time is
  scaled; all steps cost the same.
- `vectorized`: as an expert would write it. Frozen weights, no loop over images, channels last, tuned malloc.
"""

import time

import torch
from common import ROOT, mnist, some_items, triplets
from networks import network
from steps import GALLERY, hinge, nearest, triplet_loss

TRAINED = ROOT / "models/mnist-c2f2-cosine-triplet/model.safetensors"
EPSILON, STEP, ITERATIONS = 0.3, 0.01, 30
# How many steps a research-style script makes after one to warm up, and how many images an expert attacks at once.
TIMED, BATCH = 2, 100


def project(x, images):
    return x.min(images + EPSILON).max(images - EPSILON).clamp(0, 1)


def descend(images, slope):
    """The steps of PGD from the clean images."""
    x = images.clone()
    for _ in range(ITERATIONS):
        x = project(x.detach() - STEP * slope(x.requires_grad_()).sign(), images)
    return x.detach()


def descend_a_little(images, slope):
    """One step to warm up, some more under the clock: returns how much longer all of them would have taken."""
    x, clock = images.clone(), [time.perf_counter()]
    for _ in range(1 + TIMED):
        x = project(x.detach() - STEP * slope(x.requires_grad_()).sign(), images)
        clock.append(time.perf_counter())
    return (clock[-1] - clock[1]) * ITERATIONS / TIMED - (clock[-1] - clock[0])


def candidate_vectorized(net, gallery, targets):
    queries = gallery[targets]
    to_gallery = 1 - queries @ gallery.T

    def slope(x):
        to_candidate = 1 - (net(x).unsqueeze(1) * queries).sum(2)
        loss = (to_candidate.unsqueeze(2) - to_gallery).clamp(min=0).mean((1, 2)).sum()
        return torch.autograd.grad(loss, x)[0]

    return slope


def query_vectorized(net, gallery, targets, preserved):
    def slope(x):
        to_gallery = 1 - net(x) @ gallery.T
        return torch.autograd.grad((hinge(to_gallery, targets) + hinge(to_gallery, preserved)).sum(), x)[0]

    return slope


def candidate_research(net, gallery, targets):
    def loss(candidate, its_targets, _):
        queries = gallery[its_targets]
        to_gallery = 1 - queries @ gallery.T
        to_candidate = 1 - queries @ candidate
        return (to_candidate.unsqueeze(1) - to_gallery).clamp(min=0).mean()

    return one_by_one(net, loss, targets, targets)


def query_research(net, gallery, targets, preserved):
    def loss(query, its_targets, its_preserved):
        to_gallery = 1 - gallery @ query

        def hinges(items):
            return (to_gallery[items].unsqueeze(1) - to_gallery).clamp(min=0).mean()

        return hinges(its_targets) + hinges(its_preserved)

    return one_by_one(net, loss, targets, preserved)


def one_by_one(net, loss, targets, preserved):
    def slope(x):
        net.zero_grad()
        torch.stack([loss(*one) for one in zip(net(x), targets, preserved)]).mean().backward()
        return x.grad

    return slope


def embed(net, images):
    with torch.no_grad():
        return torch.cat([net(part) for part in images.split(500)])


def candidate_rank(points, targets, gallery):
    """Mean share of the gallery that is nearer to the query than the candidate, in percent."""
    shares = []
    for some, its_targets in zip(points.split(BATCH), targets.split(BATCH)):
        queries = gallery[its_targets]
        to_candidate = 1 - (some.unsqueeze(1) * queries).sum(2)
        shares.append(((1 - queries @ gallery.T) < to_candidate.unsqueeze(2)).float().mean((1, 2)))
    return 100 * torch.cat(shares).mean().item()


def query_rank(points, targets, gallery):
    """Mean share of the gallery that is nearer to the query than its target, in percent."""
    to_gallery = 1 - points @ gallery.T
    nearer = to_gallery.unsqueeze(1) < to_gallery.gather(1, targets).unsqueeze(2)
    return 100 * nearer.float().mean().item()


def attack(args, kind, width):
    """Embeds the 10,000 test images, attacks the first ones and ranks them again, from reading the files on."""
    start = time.perf_counter()
    fast = args.variant == "vectorized"
    everything, _ = mnist(GALLERY)
    net = network("c2f2", TRAINED, channels_last=fast)
    gallery = embed(net, everything)
    images, targets = everything[: args.images], some_items(args.images, width, GALLERY)
    candidate = kind == "ca"
    preserved = targets if candidate else nearest(gallery, range(args.images))
    rank = candidate_rank if candidate else query_rank
    results = {"rank_before": rank(gallery[: args.images], targets, gallery)}
    if fast:
        net.requires_grad_(False)
        parts = []
        for part, its_targets, kept in zip(images.split(BATCH), targets.split(BATCH), preserved.split(BATCH)):
            part = part.contiguous(memory_format=torch.channels_last)
            its_slope = (
                candidate_vectorized(net, gallery, its_targets)
                if candidate
                else query_vectorized(net, gallery, its_targets, kept)
            )
            parts.append(descend(part, its_slope))
        results["rank_after"] = rank(embed(net, torch.cat(parts)), targets, gallery)
        return time.perf_counter() - start, results
    its_slope = (
        candidate_research(net, gallery, targets) if candidate else query_research(net, gallery, targets, preserved)
    )
    missing = descend_a_little(images, its_slope)
    rank(embed(net, images), targets, gallery)
    return time.perf_counter() - start + missing, results


def adversarial_batch(args):
    """Moves the embeddings of a batch as far as they go, then makes a training step on the result."""
    fast = args.variant == "vectorized"
    images, labels = mnist(args.images)
    if fast:
        images = images.contiguous(memory_format=torch.channels_last)
    chosen = triplets(labels)
    net = network("c2f2", f"{args.weights}/c2f2.safetensors", channels_last=fast).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-7, fused=True if fast else None)

    def step(x):
        optimizer.zero_grad()
        triplet_loss(net(x), chosen).backward()
        optimizer.step()

    step(images)
    start = time.perf_counter()
    with torch.no_grad():
        clean = net(images)

    def shift(x):
        return ((net(x) * clean).sum(1) - 1).sum()

    missing = 0.0
    if fast:
        net.requires_grad_(False)
        images = descend(images, lambda x: torch.autograd.grad(shift(x), x)[0])
        net.requires_grad_(True)
    else:

        def slope(x):
            shift(x).backward()
            return x.grad

        missing = descend_a_little(images, slope)
    step(images)
    return time.perf_counter() - start + missing, {}


ROWS = {
    "attack-ca+-w1": lambda args: attack(args, "ca", 1),
    "attack-ca+-w10": lambda args: attack(args, "ca", 10),
    "attack-sp-qa+-m1": lambda args: attack(args, "sp-qa", 1),
    "adversarial-batch": adversarial_batch,
}
