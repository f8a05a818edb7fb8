"""CT of MNIST, trained by PyTorch instead of rankle: is a difference from the paper's curves one of our training?

    python train_in_pytorch.py ../../../datasets/mnist 0 ct-pytorch.safetensors

C2F2, cosine distance, triplet loss with margin 0.2 on 100 random triplets of each class and batch, 30 epochs of 60 batches of 1,000
images, Adam with a learning rate of 1e-3 and a weight decay of 1e-7. Needs torch, numpy and safetensors.
"""

import gzip
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

EPOCHS, BATCH, CLASSES, MARGIN = 30, 1000, 10, 0.2


def idx(path, header):
    """The bytes of a gzipped IDX file, without its header."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header).copy()


class C2F2(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 1024)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc1(x.flatten(1))


def triplets(labels, rng):
    """Anchors, positives and negatives, drawn with replacement; an anchor may be its own positive."""
    drawn = [[], [], []]
    for label in range(CLASSES):
        same, other = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        for rows, pool in zip(drawn, (same, same, other)):
            rows.extend(rng.choice(pool, len(labels) // CLASSES))
    return drawn


def main(folder, seed, output):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(idx(f"{folder}/train-images-idx3-ubyte.gz", 16)).float().div(255).view(-1, 1, 28, 28)
    labels = idx(f"{folder}/train-labels-idx1-ubyte.gz", 8)
    model = C2F2().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-7)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch in np.split(rng.permutation(len(images)), len(images) // BATCH):
            embeddings = model(images[batch].contiguous(memory_format=torch.channels_last))
            anchor, positive, negative = (embeddings[rows] for rows in triplets(labels[batch], rng))
            nearer = F.cosine_similarity(anchor, negative) - F.cosine_similarity(anchor, positive)
            loss = (nearer + MARGIN).clamp(min=0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch} of {EPOCHS}, loss {np.mean(losses):.4f}", flush=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, output)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
