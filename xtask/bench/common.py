"""What all rows share: the data, how a variant sets PyTorch up, and how time is taken."""

import gzip
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "datasets/mnist"

# The ways of setting PyTorch up for rows that are mostly a network.
EAGER, CHANNELS_LAST, COMPILE = SETUPS = ("eager", "channels_last", "compile")
# The other program that runs ONNX files.
ONNXRUNTIME = "onnxruntime"

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


def mnist(count):
    """The first test images (count x 1 x 28 x 28, float32 in [0, 1]) and their labels."""
    import numpy as np
    import torch

    with gzip.open(MNIST / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 784 * count), np.uint8, offset=16)
    with gzip.open(MNIST / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + count), np.uint8, offset=8)
    images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(labels.astype(np.int64))


def numbers(stream, *shape):
    """float32 in [-1, 1) by a formula, in NumPy; crates/rankle/src/commands/bench/formula.rs computes the same numbers."""
    sys.path.insert(0, str(ROOT / "crates/rankle-models/tests/fixtures"))
    import formula

    return formula.unit(stream, *shape)


def unit(stream, *shape):
    """The same in PyTorch."""
    import torch

    return torch.from_numpy(numbers(stream, *shape))


def photographs(count):
    """Noise in place of photographs (count x 3 x 224 x 224, float32 in [0, 1]), in NumPy."""
    return (numbers(53_000, count, 3, 224, 224) + 1) / 2


def some_items(images, each, items):
    """Gallery items for each image, (images x each), the same as on the other side."""
    import torch

    return (7919 * torch.arange(images * each) + 13).remainder(items).reshape(images, each)


def triplets(labels):
    """One for each image as the anchor: the next image of its class, and the next of another class, in a circle."""
    import torch

    count = len(labels)

    def following(anchor, wanted):
        places = ((anchor + step) % count for step in range(1, count + 1))
        return next(place for place in places if (labels[place] == labels[anchor]) == wanted)

    rows = [(anchor, following(anchor, True), following(anchor, False)) for anchor in range(count)]
    return torch.tensor(rows).T


def measure(step, seconds):
    """Two calls to warm up; then repeats for at least `seconds`, and at least five unless a single one takes longer than that.
    Milliseconds, and which share of the time this process had the processor. Returns the answer of the first call as well."""
    answer = step()
    step()
    times = []
    cpu, start = time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds or (len(times) < 5 and (not times or times[0] < 1e3 * seconds)):
        before = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - before))
    cpu_share = (time.process_time() - cpu) / (time.perf_counter() - start)
    times.sort()
    timing = {"median_ms": times[len(times) // 2], "minimum_ms": times[0], "repeats": len(times), "cpu_share": cpu_share}
    return timing, answer
