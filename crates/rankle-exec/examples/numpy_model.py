"""A color histogram as a model for rankle, without gradients. Needs numpy and safetensors."""
import sys
import numpy as np
from safetensors.numpy import load, save

stdin, stdout, sys.stdout = sys.stdin.buffer, sys.stdout.buffer, sys.stderr  # print() must not reach the answers
BINS = 8
WORDS = dict(protocol="1", channels="3", side="64", resize="square", edge="64", filter="bilinear", embedding_size=str(3 * BINS))


def embed(image):
    return np.concatenate([np.histogram(channel, BINS, (0, 1))[0] for channel in image]).astype(np.float32)


while length := stdin.read(8):
    tensors = load(stdin.read(int.from_bytes(length, "little")))
    if tensors:
        frame = save({"embeddings": np.stack([embed(image) for image in tensors["images"]])})
    else:
        frame = save({}, WORDS)
    stdout.write(len(frame).to_bytes(8, "little") + frame)
    stdout.flush()
