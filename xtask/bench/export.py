"""Writes a network with the weights that `rankle bench --save-weights` wrote beside them as an ONNX file, from pixels in [0, 1]."""

import argparse

import torch
from networks import network


class Raw(torch.nn.Module):
    """Without the normalization of the embeddings, which every program does itself."""

    def __init__(self, model):
        super().__init__()
        self.net = model.net
        self.mean, self.std = model.mean, model.std

    def forward(self, images):
        return self.net((images - self.mean) / self.std)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="as the rows call it")
    parser.add_argument("--weights", default="target/bench/weights", help="folder with MODEL.safetensors, which gets MODEL.onnx")
    args = parser.parse_args()
    model = Raw(network(args.model, f"{args.weights}/{args.model}.safetensors")).eval()
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, 224, 224),),
        f"{args.weights}/{args.model}.onnx",
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_axes={"images": {0: "batch"}, "embeddings": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
