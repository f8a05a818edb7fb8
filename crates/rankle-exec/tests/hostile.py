"""A model of 2 x 2 gray images that misbehaves as its argument says."""
import json, os, sys, time

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
how = sys.argv[1]
size = os.getpid() if how == "changes" else 1


def say(frame):
    stdout.write(frame)
    stdout.flush()


def answer(words, name=None, shape=(), numbers=b"", dtype="F32"):
    header = {"__metadata__": words}
    if name:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(numbers)]}
    header = json.dumps(header).encode()
    say((8 + len(header) + len(numbers)).to_bytes(8, "little") + len(header).to_bytes(8, "little") + header + numbers)


if how == "deaf":
    time.sleep(600)
if how == "greets":
    print("Loading model ...", flush=True)
if how == "greets-shortly":
    print("hi", flush=True)
if how == "dies-at-once":
    sys.exit("no GPU\nno luck")
while length := stdin.read(8):
    frame = stdin.read(int.from_bytes(length, "little"))
    header = json.loads(frame[8 : 8 + int.from_bytes(frame[:8], "little")])
    request = header["__metadata__"]["request"]
    if request == "describe":
        protocol = "9" if how == "tomorrow" else "1"
        answer({"protocol": protocol, "channels": "1", "side": "2", "embedding_size": str(size), "gradient": "true"})
        continue
    count = header["images"]["shape"][0]
    if how == "hangs":
        time.sleep(600)
    elif how == "half":
        say((100).to_bytes(8, "little") + b"\0" * 50)
        time.sleep(600)
    elif how == "dies":
        os._exit(7)
    elif how == "closes":
        os.close(1)
        time.sleep(600)
    elif how == "prints":
        say(b"embedding 1 of 7\n")
    elif how == "lies":
        say((1 << 40).to_bytes(8, "little"))
    elif how == "floods":
        say((1 << 20).to_bytes(8, "little"))
    elif how == "garbage":
        say((8).to_bytes(8, "little") + b"\xff" * 8)
    elif how == "nan":
        answer({}, "embeddings", [count, 1], b"\0\0\xc0\x7f" * count)
    elif how == "shape":
        answer({}, "embeddings", [1, count], b"\0\0\0\0" * count)
    elif how == "double":
        answer({}, "embeddings", [count, 1], b"\0\0\0\0\0\0\0\0" * count, "F64")
    elif how == "name":
        answer({}, "features", [count, 1], b"\0\0\0\0" * count)
    elif how == "error":
        answer({"error": "images are too bright"})
    else:
        time.sleep(0.05)
        answer({}, "embeddings", [count, size], b"\0\0\0\0" * count * size)
