"""Rows that are mostly a network: forward, PGD step, training step, and the query attacks' step with its gallery."""

import torch
from common import CHANNELS_LAST, COMPILE, mnist, photographs, some_items, triplets
from networks import DIGITS, network

GALLERY, PRESERVED, MARGIN = 10_000, 5, 0.2


class Setup:
    """One architecture, set up as the variant asks for, with its images."""

    def __init__(self, args, architecture):
        self.channels_last = args.variant in (CHANNELS_LAST, COMPILE)
        self.compiled = torch.compile if args.variant == COMPILE else lambda module: module
        self.architecture, self.weights = architecture, f"{args.weights}/{architecture}.safetensors"
        if architecture in DIGITS:
            images, self.labels = mnist(args.images)
        else:
            images, self.labels = torch.from_numpy(photographs(args.images)), torch.arange(args.images) % 2
        self.images = self.format(images)

    def format(self, images):
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def network(self):
        return network(self.architecture, self.weights, self.channels_last)

    def frozen(self):
        return self.compiled(self.network().requires_grad_(False))


def magnitude(answer):
    return {"mean_magnitude": answer.abs().mean().item()}


def forward(args):
    setup = Setup(args, architecture_of(args))
    net = setup.frozen()

    def step():
        with torch.inference_mode():
            return net(setup.images)

    return step, magnitude


def pgd_step(args):
    """The gradient of the cosine distance to the embedding of another image, with respect to the pixels only."""
    setup = Setup(args, architecture_of(args))
    net = setup.frozen()
    with torch.no_grad():
        toward = net(setup.format(setup.images.flip(0))).clone()
    pixels = setup.images.clone().requires_grad_()

    def step():
        loss = (1 - (net(pixels) * toward).sum(1)).sum()
        return torch.autograd.grad(loss, pixels)[0]

    return step, magnitude


def training_step(args):
    setup = Setup(args, architecture_of(args))
    net = setup.network().train()
    model = setup.compiled(net)
    # The fused Adam is the fastest that PyTorch has: every variant gets it.
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-7, fused=True)
    chosen = triplets(setup.labels)

    def step():
        optimizer.zero_grad()
        loss = triplet_loss(model(setup.images), chosen)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, lambda loss: {"loss": loss.item()}


def triplet_loss(u, chosen):
    anchors, positives, negatives = chosen
    anchor = u[anchors]
    gap = (anchor * u[negatives]).sum(1) - (anchor * u[positives]).sum(1)
    return (gap + MARGIN).clamp(min=0).mean()


def hinge(to_gallery, items):
    """Per image: the mean over its items and the gallery of [d(q, item) - d(q, x)]+."""
    to_items = to_gallery.gather(1, items)
    return (to_items.unsqueeze(2) - to_gallery.unsqueeze(1)).clamp(min=0).mean((1, 2))


def query_step(args):
    """QA+ with one candidate an image; SP-QA+ with the five nearest items in their places as well."""
    setup = Setup(args, "c2f2")
    net = setup.network().requires_grad_(False)
    with torch.no_grad():
        gallery = torch.cat([net(setup.format(part)) for part in mnist(GALLERY)[0].split(500)])
    targets = some_items(args.images, 1, GALLERY)
    preserved = nearest(gallery, range(args.images)) if args.row == "sp-qa-step" else None

    @setup.compiled
    def losses(pixels):
        to_gallery = 1 - net(pixels) @ gallery.T
        loss = hinge(to_gallery, targets)
        return loss if preserved is None else loss + hinge(to_gallery, preserved)

    pixels = setup.images.clone().requires_grad_()

    def step():
        return torch.autograd.grad(losses(pixels).sum(), pixels)[0]

    return step, magnitude


def nearest(gallery, images):
    """The items nearest to each of these gallery items, without itself."""
    to_gallery = 1 - gallery[list(images)] @ gallery.T
    to_gallery[torch.arange(len(images)), torch.tensor(images)] = torch.inf
    return to_gallery.topk(PRESERVED, largest=False).indices


def architecture_of(args):
    """The network of a row; a row of an ONNX file does the same work."""
    return next(args.row.removeprefix("onnx-").removesuffix(end) for end in STEPS if args.row.endswith(end))


STEPS = {"-forward": forward, "-pgd-step": pgd_step, "-training-step": training_step}


def row(name):
    """The function that prepares this row, if it is one of these."""
    if name in ("qa-step", "sp-qa-step"):
        return query_step
    return next((prepare for end, prepare in STEPS.items() if name.endswith(end)), None)


