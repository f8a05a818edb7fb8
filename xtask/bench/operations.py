"""Single operations: the results and the gradient of the input, with frozen weights. The upstream gradient is 1 everywhere."""

import torch
import torch.nn.functional as F
from common import CHANNELS_LAST, unit

TOKENS, FEATURES, HEADS = 197, 384, 6

# Channels, pixels a side, shape of the weights and groups.
CONVOLUTIONS = {
    "op-conv3x3": (64, 56, (64, 64, 3, 3), 1),
    "op-conv1x1": (256, 56, (64, 256, 1, 1), 1),
    "op-depthwise3x3": (144, 56, (144, 1, 3, 3), 144),
    "op-depthwise5x5": (240, 28, (240, 1, 5, 5), 240),
}


def numbers(stream, *shape):
    """Stream 0 is the input, the others are weights, which are small: no softmax is saturated."""
    return unit(55_000 + stream, *shape) * (1 if stream == 0 else 0.0625)


def gradient_of(operation, x):
    x = x.requires_grad_()
    with torch.no_grad():
        ones = torch.ones_like(operation(x))
    return lambda: torch.autograd.grad(operation(x), x, ones)[0], magnitude


def magnitude(answer):
    return {"mean_magnitude": answer.abs().mean().item()}


def convolution(args):
    channels, side, shape, groups = CONVOLUTIONS[args.row]
    x, weight = numbers(0, args.images, channels, side, side), numbers(1, *shape)
    if args.variant == CHANNELS_LAST:
        x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    return gradient_of(lambda x: F.conv2d(x, weight, padding=shape[-1] // 2, groups=groups), x)


def attention(args):
    """Self-attention with its projections."""
    expand, expand_bias = numbers(1, 3 * FEATURES, FEATURES), numbers(2, 3 * FEATURES)
    project, project_bias = numbers(3, FEATURES, FEATURES), numbers(4, FEATURES)

    def operation(x):
        parts = F.linear(x, expand, expand_bias).reshape(args.images, TOKENS, 3, HEADS, FEATURES // HEADS)
        heads = F.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4))
        return F.linear(heads.transpose(1, 2).reshape(args.images, TOKENS, FEATURES), project, project_bias)

    return gradient_of(operation, numbers(0, args.images, TOKENS, FEATURES))


def layer_norm(args):
    weight, bias = numbers(1, FEATURES), numbers(2, FEATURES)
    return gradient_of(lambda x: F.layer_norm(x, (FEATURES,), weight, bias, 1e-6), numbers(0, args.images, TOKENS, FEATURES))


ROWS = dict.fromkeys(CONVOLUTIONS, convolution) | {"op-attention": attention, "op-layer-norm": layer_norm}
