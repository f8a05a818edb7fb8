"""Times a whole attack in PyTorch: CA+ with one query an image, epsilon 0.3, 30 steps of 0.01, on MNIST. See README.md."""

import time

START = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402

from c2f2_torch import formula, mnist, network, restart_with  # noqa: E402

EPSILON, STEP, ITERATIONS, GALLERY, BATCH = 0.3, 0.01, 30, 10_000, 1000


def vectorised(net, images, queries, gallery):
    """Frozen weights, distances to the gallery computed once, one hinge matrix a step."""
    import torch

    net.requires_grad_(False)
    to_gallery = 1 - queries @ gallery.T
    x = images.clone()
    for _ in range(ITERATIONS):
        x.requires_grad_()
        to_candidate = 1 - (net(x) * queries).sum(1, keepdim=True)
        loss = (to_candidate - to_gallery).clamp(min=0).mean(1).sum()
        (slope,) = torch.autograd.grad(loss, x)
        x = project(x.detach() - STEP * slope.sign(), images)
    return x


def research(net, images, queries, gallery):
    """As research code is often written: weights keep their gradients, the loss walks over the images and compares each
    query with the whole gallery again at every step."""
    import torch

    x = images.clone()
    for _ in range(ITERATIONS):
        x.requires_grad_()
        net.zero_grad()
        u = net(x)
        losses = []
        for candidate, query in zip(u, queries):
            to_gallery = 1 - gallery @ query
            to_candidate = 1 - candidate @ query
            losses.append((to_candidate - to_gallery).clamp(min=0).mean())
        loss = torch.stack(losses).mean()
        loss.backward()
        x = project(x.detach() - STEP * x.grad.sign(), images)
    return x


def project(x, images):
    return x.min(images + EPSILON).max(images - EPSILON).clamp(0, 1)


VARIANTS = {"vectorised": vectorised, "research": research}


def embed(net, images):
    import torch

    with torch.inference_mode():
        return torch.cat([net(part) for part in images.split(BATCH)]).clone()


def rank(points, queries, gallery):
    """Mean over the images of the share of the gallery that is nearer to the query, in percent."""
    nearer = (1 - queries @ gallery.T) < (1 - (points * queries).sum(1, keepdim=True))
    return 100 * nearer.float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["attack-cell"], default="attack-cell")
    parser.add_argument("--variant", choices=VARIANTS, default="vectorised")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=1000, help="attacked: the first ones of the test set")
    parser.add_argument("--weights", help="safetensors with conv1.weight ... fc1.bias; those of the formula if left out")
    args = parser.parse_args()
    fast = args.variant == "vectorised"
    restart_with(args.threads, tuned_malloc=fast)
    import torch

    torch.set_num_threads(args.threads)
    imported = time.perf_counter()

    everything, _ = mnist("t10k", GALLERY)
    net = network(args.weights, channels_last=fast)
    gallery = embed(net, everything)
    images = everything[: args.images]
    draw = torch.from_numpy(formula().bits(52_000, args.images).astype("int64")) % GALLERY
    queries = gallery[draw]

    before, adversarial = rank(gallery[: args.images], queries, gallery), []
    for part, its_queries in zip(images.split(BATCH), queries.split(BATCH)):
        if fast:
            part = part.contiguous(memory_format=torch.channels_last)
        adversarial.append(VARIANTS[args.variant](net, part, its_queries, gallery).detach())
    after = rank(embed(net, torch.cat(adversarial)), queries, gallery)

    done = time.perf_counter()
    result = {"work": args.work, "variant": args.variant, "threads": args.threads, "images": args.images, "gallery": GALLERY}
    result |= {"rank_before": before, "rank_after": after, "seconds": done - imported, "seconds_with_imports": done - START}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
