"""A model in plain Python: the means of the 4 x 4 squares of a gray image of 28 x 28 pixels, and their gradient."""
import json, sys
from array import array

stdin, stdout, sys.stdout = sys.stdin.buffer, sys.stdout.buffer, sys.stderr  # print() must not reach the answers
SIDE, EDGE = 28, 7  # 7 x 7 squares of 4 x 4 pixels
SQUARE = [y // 4 * EDGE + x // 4 for y in range(SIDE) for x in range(SIDE)]


def read(frame):
    end = 8 + int.from_bytes(frame[:8], "little")
    header, numbers = json.loads(frame[8:end]), frame[end:]
    words = header.pop("__metadata__")
    return words, {name: array("f", numbers[slice(*tensor["data_offsets"])]) for name, tensor in header.items()}


def answer(words={}, **tensors):
    header, numbers = {"__metadata__": words}, b""
    for name, (shape, values) in tensors.items():
        begin, numbers = len(numbers), numbers + array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(numbers)]}
    header = json.dumps(header).encode()
    stdout.write((8 + len(header) + len(numbers)).to_bytes(8, "little") + len(header).to_bytes(8, "little") + header + numbers)
    stdout.flush()


def embed(image):
    sums = [0.0] * EDGE * EDGE
    for square, pixel in zip(SQUARE, image):
        sums[square] += pixel
    return [total / 16 for total in sums]


def rows(values, length):
    return [values[at : at + length] for at in range(0, len(values), length)]


while length := stdin.read(8):
    words, tensors = read(stdin.read(int.from_bytes(length, "little")))
    if words["request"] == "describe":
        answer({"protocol": "1", "channels": "1", "side": "28", "embedding_size": "49", "gradient": "true"})
    elif words["request"] == "embed":
        embeddings = [embed(image) for image in rows(tensors["images"], SIDE * SIDE)]
        answer(embeddings=([len(embeddings), EDGE * EDGE], sum(embeddings, [])))
    else:
        gradients = [[upstream[square] / 16 for square in SQUARE] for upstream in rows(tensors["upstream"], EDGE * EDGE)]
        answer(gradient=([len(gradients), 1, SIDE, SIDE], sum(gradients, [])))
