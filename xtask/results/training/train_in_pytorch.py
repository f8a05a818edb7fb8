"""ResNet-18 on Unknown Horizons, trained by PyTorch instead of rankle: does the same recipe rank as well?

    python train_in_pytorch.py prepare ../../../datasets/unknown-horizons/images images74
    python train_in_pytorch.py train images74 SEED EPOCHS

`prepare` resizes the images to 74x74 pixels, so that both sides read the same ones and only cut out 64x64. `train` is the recipe of
`rankle train --dataset folder,classes=50%:images74 --model resnet18,size=64 --distance cosine --loss triplet --batch-size 32`: a network
from random weights, one triplet for each image in each epoch (another image of the class, one of another class), the sum of
[d(a, p) - d(a, n) + 0.5]+ over a batch, Adam with a learning rate of 1e-4 and a weight decay of 1e-7; each image is cut out anywhere and
mirrored half of the time, once in each epoch. The last half of the classes is tested. Needs torch, torchvision, numpy and pillow.
"""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import resnet18

EDGE, SIDE, BATCH, MARGIN, THREADS = 74, 64, 32, 0.5, 1
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def prepare(source, target):
    """The same folder with images of EDGE x EDGE pixels."""
    for path in sorted(source.glob("*/*.png")):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").resize((EDGE, EDGE), Image.Resampling.BILINEAR).save(to)
    shutil.copy(source / "credits.toml", target)


def split(folder):
    """Images and labels of the first and of the last half of the classes, the last one the smaller when they are odd in number."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    trained = len(classes) - (len(classes) + 1) // 2
    parts = []
    for part in (classes[:trained], classes[trained:]):
        files = [(path, label) for label, folder in enumerate(part) for path in sorted(folder.iterdir())]
        pixels = np.stack([np.asarray(Image.open(path)) for path, _ in files])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        parts.append((images, np.array([label for _, label in files])))
    return parts


def cut(images, rng):
    """Any part of each image, mirrored half of the time."""
    rows = []
    for image in images:
        top, left = rng.integers(0, EDGE - SIDE + 1, 2)
        part = image[:, top : top + SIDE, left : left + SIDE]
        rows.append(part.flip(2) if rng.random() < 0.5 else part)
    return torch.stack(rows)


def companions(labels, rng):
    """For each image another one of its class, and one of another class."""
    places = np.arange(len(labels))
    positives = [rng.choice(places[(labels == labels[image]) & (places != image)]) for image in places]
    negatives = [rng.choice(places[labels != labels[image]]) for image in places]
    return np.stack([places, positives, negatives], axis=1)


def recalls(model, images, labels, at=(1, 10, 100)):
    """In percent, each test image a query to all others."""
    model.eval()
    margin = (EDGE - SIDE) // 2
    middle = images[:, :, margin : margin + SIDE, margin : margin + SIDE]
    with torch.no_grad():
        embeddings = F.normalize(torch.cat([model((part - MEAN) / STD) for part in middle.split(100)]))
    similarity = embeddings @ embeddings.T
    similarity.fill_diagonal_(-2)
    hits = torch.from_numpy(labels)[similarity.argsort(1, descending=True)] == torch.from_numpy(labels)[:, None]
    return [100 * hits[:, :k].any(1).float().mean().item() for k in at]


def train(folder, seed, epochs):
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    (images, labels), test = split(folder)
    model = resnet18()
    model.fc = nn.Identity()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-7)
    start = time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        pixels, drawn, total = cut(images, rng), companions(labels, rng), 0.0
        order = rng.permutation(len(images))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            indices = drawn[batch].ravel()
            inputs = ((pixels[indices] - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            anchor, positive, negative = model(inputs).view(len(batch), 3, -1).unbind(1)
            nearer = F.cosine_similarity(anchor, negative) - F.cosine_similarity(anchor, positive)
            loss = (nearer + MARGIN).clamp(min=0).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"seed {seed}, epoch {epoch} of {epochs}, loss {total / len(images):.4f}", flush=True)
    seconds = time.time() - start
    print(f"seed {seed}: recalls at 1, 10, 100 {recalls(model, *test)}, {seconds:.0f} s, torch {torch.__version__}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        train(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
