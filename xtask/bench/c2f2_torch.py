"""What both PyTorch benchmarks share: the network, its weights, the images, and how a variant sets PyTorch up."""

import gzip
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "datasets/mnist"

# glibc hands freed tensors back to the kernel and faults them in again at every step; these settings keep them.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}


def restart_with(threads, tuned_malloc):
    """Both settings are read when a process starts: starts this script again with them, once. Call before importing torch."""
    wanted = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | (MALLOC if tuned_malloc else {})
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def mnist(part, count):
    """Images (count x 1 x 28 x 28, float32 in [0, 1]) and labels; `part` is `t10k` or `train`."""
    import numpy as np
    import torch

    with gzip.open(MNIST / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 784 * count), np.uint8, offset=16)
    with gzip.open(MNIST / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + count), np.uint8, offset=8)
    images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(labels.astype(np.int64))


def formula():
    """The numbers of the fixtures; they live beside the tests that need them."""
    sys.path.insert(0, str(ROOT / "crates/rankle-models/tests/fixtures"))
    import formula

    return formula


def network(weights_file=None, channels_last=False):
    """C2F2 with the given weights, or those of the formula; returns unit embeddings."""
    import torch
    import torch.nn.functional as F

    class C2F2(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 32, 5, padding=2)
            self.conv2 = torch.nn.Conv2d(32, 64, 5, padding=2)
            self.fc1 = torch.nn.Linear(3136, 1024)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return F.normalize(self.fc1(x.flatten(1)), dim=1)

    if weights_file:
        from safetensors.torch import load_file

        weights = load_file(weights_file)
    else:
        weights = {name: torch.from_numpy(w) for name, w in formula().parameters().items()}
    net = C2F2()
    net.load_state_dict(weights)
    return net.to(memory_format=torch.channels_last) if channels_last else net
