"""The forward pass in onnxruntime, of a file that `export.py` wrote. Imports no PyTorch, so that the memory is onnxruntime's."""

import numpy as np
import onnxruntime
from common import photographs


def forward(args):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    model = args.row.removeprefix("onnx-").removesuffix("-forward")
    session = onnxruntime.InferenceSession(f"{args.weights}/{model}.onnx", options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: photographs(args.images)}

    def step():
        embeddings = session.run(None, feed)[0]
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    return step, lambda unit: {"mean_magnitude": float(np.abs(unit).mean())}


def version():
    return onnxruntime.__version__
