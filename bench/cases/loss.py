"""Losses: a classifier's, a language model's, and pointwise ones over 64 MB."""

from . import case


def functional(L):
    return L if L.__name__ == "tercel" else L.nn.functional


def classes(n, c, name, quick=False):
    size = 4 * n * c

    def inputs(s):
        return [s.normal(n, c), s.ints(n, low=0, high=c)]

    def loss(L, x, t):
        return functional(L).cross_entropy(x, t)

    case("cross_entropy", name, inputs, loss, bytes=size, quick=quick)
    case("cross_entropy", name, inputs, loss, bytes=3 * size, grad=True)


classes(128, 1000, "resnet/128x1000")
classes(2048, 32000, "lm/2048x32000", quick=True)


def spatial(L, x, t):
    return functional(L).cross_entropy(x, t)


case("cross_entropy", "spatial/4x21x256x256",
     lambda s: [s.normal(4, 21, 256, 256), s.ints(4, 256, 256, low=0, high=21)], spatial, bytes=4 * 4 * 21 * 256 * 256,
     grad=False)  # fmt: skip

for name in ("mse_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits"):

    def inputs(s):
        return [s.normal(4096, 2048), s.uniform(4096, 2048)]

    def loss(L, x, t, name=name):
        return getattr(functional(L), name)(x, t)

    case(name, "4096x2048", inputs, loss, bytes=2 * 4 * 4096 * 2048)


def speech(s):
    return [s.normal(500, 16, 64), s.ints(16, 100, low=1, high=64)]


def ctc(L, x, t):
    n = x.shape[1]
    lengths = (L.full((n,), x.shape[0], dtype=L.int64), L.full((n,), t.shape[1], dtype=L.int64))
    return L.nn.functional.ctc_loss(x.log_softmax(2), t, *lengths)


for grad in (False, True):
    case(
        "ctc_loss", "speech/500x16x64, 100 labels", speech, ctc, bytes=4 * 500 * 16 * 64, grad=grad
    )

case("cdist", "512x128", inputs=lambda s: [s.normal(512, 128), s.normal(512, 128)], flops=3 * 512 * 512 * 128,
     fn=lambda L, a, b: L.cdist(a, b))  # fmt: skip
case("pdist", "512x128", inputs=lambda s: [s.normal(512, 128)], flops=3 * 512 * 512 * 64,
     fn=lambda L, x: L.nn.functional.pdist(x))  # fmt: skip
