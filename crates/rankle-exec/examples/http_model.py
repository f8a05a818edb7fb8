"""A model behind HTTP for rankle. The server takes {"images": (n, 3, 224, 224)} by POST and answers {"embeddings": (n, 512)}, both as
JSON: change `embed` for another one. Needs numpy and safetensors. Usage: exec:'python3 http_model.py http://localhost:8000/embed'"""
import json, sys, urllib.request
import numpy as np
from safetensors.numpy import load, save

stdin, stdout, sys.stdout = sys.stdin.buffer, sys.stdout.buffer, sys.stderr  # print() must not reach the answers
SIDE, SIZE = 224, 512
WORDS = dict(protocol="1", channels="3", side=str(SIDE), resize="shorter", edge="256", filter="bilinear", embedding_size=str(SIZE))


def embed(images):
    body = json.dumps({"images": images.tolist()}).encode()
    request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["embeddings"], np.float32)


while length := stdin.read(8):
    tensors = load(stdin.read(int.from_bytes(length, "little")))
    try:
        frame = save({"embeddings": embed(tensors["images"])}) if tensors else save({}, WORDS)
    except OSError as error:
        frame = save({}, {"error": f"{sys.argv[1]}: {error}"})
    stdout.write(len(frame).to_bytes(8, "little") + frame)
    stdout.flush()
