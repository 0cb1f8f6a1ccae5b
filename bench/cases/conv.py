"""Convolutions of ResNet-50 / -34, MobileNet and small networks on MNIST-sized images."""

from . import case

# name: batch sizes, in, out, size, kernel, stride, padding, groups
LAYERS = {
    "resnet/3x3_64@56": ((1, 8), 64, 64, 56, 3, 1, 1, 1),
    "resnet/3x3_128@28": ((1, 8), 128, 128, 28, 3, 1, 1, 1),
    "resnet/3x3_256@14": ((1, 8), 256, 256, 14, 3, 1, 1, 1),
    "resnet/3x3_512@7": ((1, 8), 512, 512, 7, 3, 1, 1, 1),
    "resnet/7x7s2_3to64@224": ((1, 8), 3, 64, 224, 7, 2, 3, 1),
    "resnet/1x1_256to64@56": ((8,), 256, 64, 56, 1, 1, 0, 1),
    "resnet/3x3s2_64to128@56": ((8,), 64, 128, 56, 3, 2, 1, 1),
    "mobilenet/dw3x3_128@56": ((1, 8), 128, 128, 56, 3, 1, 1, 128),
    "efficientnet/1x1_1152to48@1": ((32,), 1152, 48, 1, 1, 1, 0, 1),
    "mobilenet/dw3x3_192@4": ((32,), 192, 192, 4, 3, 1, 1, 192),
    "mobilenet/dw3x3s2_144@8": ((32,), 144, 144, 8, 3, 2, 1, 144),
    "mobilenet/dw3x3s2_96@112": ((1, 8), 96, 96, 112, 3, 2, 1, 96),
    "mobilenet/dw3x3s2_192@28": ((8,), 192, 192, 28, 3, 2, 1, 192),
    "efficientnet/dw5x5s2_240@28": ((8,), 240, 240, 28, 5, 2, 2, 240),
    "efficientnet/dw5x5_1152@7": ((8,), 1152, 1152, 7, 5, 1, 2, 1152),
    "convnext/dw7x7_96@56": ((1, 8), 96, 96, 56, 7, 1, 3, 96),
    "convnext/dw7x7_384@14": ((4,), 384, 384, 14, 7, 1, 3, 384),
    "resnext/3x3_512@14g32": ((4,), 512, 512, 14, 3, 1, 1, 32),
    "resnext/3x3s2_512@28g32": ((4,), 512, 512, 28, 3, 2, 1, 32),
    "regnet/3x3_320@14g40": ((4,), 320, 320, 14, 3, 1, 1, 40),
    "small/3x3_128to32@2": ((32,), 128, 32, 2, 3, 1, 1, 1),
    "mnist/3x3_1to16@28": ((64,), 1, 16, 28, 3, 1, 1, 1),
    "digits/3x3_16@8": ((64,), 16, 16, 8, 3, 1, 1, 1),
    "mnist/3x3_16@28": ((64,), 16, 16, 28, 3, 1, 1, 1),
    "mnist/3x3_32@14": ((64,), 32, 32, 14, 3, 1, 1, 1),
    "mnist/3x3_64@7": ((64,), 64, 64, 7, 3, 1, 1, 1),
}

for name, (batches, cin, cout, size, k, stride, pad, groups) in LAYERS.items():
    for n in batches:
        out = (size + 2 * pad - k) // stride + 1
        flops = 2.0 * n * cout * (cin // groups) * k * k * out * out
        for grad in (False, True):
            case(
                "conv2d",
                f"{name}_b{n}",
                inputs=lambda s, n=n, cin=cin, cout=cout, size=size, k=k, groups=groups: [
                    s.normal(n, cin, size, size),
                    s.normal(cout, cin // groups, k, k),
                ],
                fn=lambda L, x, w, stride=stride, pad=pad, groups=groups: L.conv2d(
                    x, w, None, stride, pad, 1, groups
                ),
                flops=flops * (3 if grad else 1),
                grad=grad,
                quick=name == "resnet/3x3_128@28" and n == 8,
            )
