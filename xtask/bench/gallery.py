"""Rows without a network: ranks by counting, Recall@1 and mean average precision."""

import torch
import torch.nn.functional as F
from common import mnist, unit
from networks import network

ITEMS, DIM, CLASSES, SPREAD, BLOCK = 60_502, 512, 11_316, 2.1, 256


def rank_count(args):
    """How many of 10,000 items are nearer to each query than its own target. `cosine` is 1 - q @ g.T, `cdist` torch.cdist."""
    net = network("c2f2", f"{args.weights}/c2f2.safetensors")
    with torch.inference_mode():
        gallery = torch.cat([net(part) for part in mnist(10_000)[0].split(500)])
    queries = gallery[: args.images].clone()
    targets = torch.arange(1, args.images + 1).unsqueeze(1)

    def step():
        with torch.inference_mode():
            distances = torch.cdist(queries, gallery) if args.variant == "cdist" else 1 - queries @ gallery.T
            return (distances < distances.gather(1, targets)).sum(1)

    return step, lambda ranks: {"mean_rank": ranks.double().mean().item()}


def retrieval(args):
    """Every item a query against all others, of which the first `images` are timed, a block of queries at a time."""
    labels = torch.arange(ITEMS) % CLASSES
    gallery = F.normalize(unit(54_000, CLASSES, DIM)[labels] + SPREAD * unit(54_001, ITEMS, DIM), dim=1)
    # The items of each class, the longest rows of them; where a class has fewer, the query itself stands in.
    members = [torch.arange(label, ITEMS, CLASSES) for label in range(CLASSES)]
    others = torch.stack(
        [F.pad(own[own != query], (0, 6 - len(own)), value=query) for query in range(args.images) for own in [members[query % CLASSES]]]
    )

    def block(queries):
        distances = torch.cdist(gallery[queries], gallery)
        distances[torch.arange(len(queries)), queries] = torch.inf
        first = distances.topk(1, largest=False).indices[:, 0]
        hits = labels[first] == labels[queries]
        if args.variant == "cdist+topk":
            return hits, torch.full([len(queries)], torch.nan)
        # Only the places of the query's own class matter: count what is nearer than each of them, and never sort.
        own = distances.gather(1, others[queries])
        places = torch.stack([(distances < own[:, k : k + 1]).sum(1) for k in range(own.shape[1])], dim=1)
        real = own.isfinite()
        places = places.masked_fill(~real, ITEMS).sort(1).values
        precision = torch.arange(1, own.shape[1] + 1) / (places + 1)
        real = real.sort(1, descending=True).values
        return hits, (precision * real).sum(1) / real.sum(1)

    def step():
        with torch.inference_mode():
            parts = [block(queries) for queries in torch.arange(args.images).split(BLOCK)]
            return [torch.cat(part) for part in zip(*parts)]

    def results(answer):
        hits, precision = answer
        recall = {"recall_at_1": hits.double().mean().item()}
        return recall if precision.isnan().any() else recall | {"map": precision.double().mean().item()}

    return step, results


ROWS = {"gallery-rank-count": rank_count, "retrieval": retrieval}
