"""Normalisation layers at model shapes. Bytes: forward reads x and writes y; with gradients x, dy are read
and dx written as well (training batch norm reads x twice)."""

from . import case

F = "nn.functional"


def rows(name, r, n, with_bias, quick=False, grad=True):
    def inputs(s):
        return [s.normal(r, n), s.normal(n)] + ([s.normal(n)] if with_bias else [])

    def fn(L, x, *params):
        return getattr(L.nn.functional, name)(x, (n,), *params, eps=1e-5)

    moved = 4 * r * n
    case(name, f"{r}x{n}", inputs=inputs, fn=fn, bytes=2 * moved, quick=quick)
    if grad:
        case(name, f"{r}x{n}", inputs=inputs, fn=fn, bytes=5 * moved, grad=True, quick=quick)


for _r, _n in [(32, 64), (512, 768), (8192, 768), (4096, 4096)]:
    rows("layer_norm", _r, _n, True, quick=(_r == 512))
    rows("rms_norm", _r, _n, False, quick=(_r == 512))
case("layer_norm", "8192x768", dtype="bfloat16", bytes=2 * 2 * 8192 * 768,
     inputs=lambda s: [s.normal(8192, 768), s.normal(768), s.normal(768)],
     fn=lambda L, x, w, b: L.nn.functional.layer_norm(x, (768,), w, b))  # fmt: skip


def after_add(name, r, n, params, quick=False):
    """A residual stream: the sum and its norm. Reads two arrays, writes two."""

    def fn(L, x, residual, *p):
        if hasattr(L, f"add_{name}"):
            return getattr(L, f"add_{name}")(x, residual, (n,), *p, eps=1e-5)
        s = x + residual
        return getattr(L.nn.functional, name)(s, (n,), *p, eps=1e-5), s

    def inputs(s):
        return [s.normal(r, n), s.normal(r, n)] + [s.normal(n) for _ in range(params)]

    case(f"add_{name}", f"{r}x{n}", inputs=inputs, fn=fn, bytes=4 * 4 * r * n, quick=quick)


after_add("layer_norm", 8192, 768, 2)
after_add("rms_norm", 8192, 768, 1)


def maps(label, shape, groups=None, quick=False):
    b, c = shape[:2]
    moved = 4
    for size in shape:
        moved *= size

    def inputs(s):
        return [s.normal(*shape), s.normal(c), s.normal(c)]

    def train(L, x, w, bias):
        return L.nn.functional.batch_norm(x, None, None, w, bias, True, 0.1, 1e-5)

    def group(L, x, w, bias):
        return L.nn.functional.group_norm(x, groups, w, bias)

    case("batch_norm", f"{label} train", inputs=inputs, fn=train, bytes=3 * moved, quick=quick)
    case(
        "batch_norm",
        f"{label} train",
        inputs=inputs,
        fn=train,
        bytes=8 * moved,
        grad=True,
        quick=quick,
    )
    case(
        "batch_norm", f"{label} eval", bytes=2 * moved,
        inputs=lambda s: [s.normal(*shape), s.normal(c), s.uniform(c, low=0.5, high=2.0), s.normal(c), s.normal(c)],
        fn=lambda L, x, m, v, w, bias: L.nn.functional.batch_norm(x, m, v, w, bias, False, 0.1, 1e-5),
    )  # fmt: skip
    if groups:
        case("group_norm", f"{label} g{groups}", inputs=inputs, fn=group, bytes=2 * moved)
        case(
            "group_norm", f"{label} g{groups}", inputs=inputs, fn=group, bytes=5 * moved, grad=True
        )


maps("8x64x14x14", (8, 64, 14, 14), 32, quick=True)
maps("resnet50/32x64x56x56", (32, 64, 56, 56), 32)
maps("demo/128x16x28x28", (128, 16, 28, 28))
maps("demo/128x32x14x14", (128, 32, 14, 14))
maps("demo/64x32x8x8", (64, 32, 8, 8))
maps("mlp/128x512", (128, 512))
