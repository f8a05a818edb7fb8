"""torchvision's MobileNetV2 as a model for rankle, with gradients. Needs torch, torchvision and safetensors."""
import sys
import torch
from safetensors.torch import load, save
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

stdin, stdout, sys.stdout = sys.stdin.buffer, sys.stdout.buffer, sys.stderr  # print() must not reach the answers
model = mobilenet_v2(weights=MobileNet_V2_Weights.DEFAULT if len(sys.argv) < 2 else None)
if len(sys.argv) > 1:
    model.load_state_dict(torch.load(sys.argv[1], map_location="cpu", weights_only=True))
model.classifier = torch.nn.Identity()  # the layer before the logits
model.eval().requires_grad_(False)
mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
WORDS = dict(protocol="1", channels="3", side="224", resize="shorter", edge="232", filter="bilinear", embedding_size="1280", gradient="true")

while length := stdin.read(8):
    tensors, words = load(stdin.read(int.from_bytes(length, "little"))), None
    if not tensors:
        tensors, words = {}, WORDS
    else:
        images = tensors["images"].requires_grad_("upstream" in tensors)
        embeddings = model((images - mean) / std)
        if "upstream" in tensors:
            tensors = {"gradient": torch.autograd.grad(embeddings, images, tensors["upstream"])[0]}
        else:
            tensors = {"embeddings": embeddings}
    frame = save({name: tensor.contiguous() for name, tensor in tensors.items()}, words)
    stdout.write(len(frame).to_bytes(8, "little") + frame)
    stdout.flush()
