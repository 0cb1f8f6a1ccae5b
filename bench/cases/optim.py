"""Optimizer steps: many small tensors (bound by the calls) and one large one (bound by memory), fused in both
libraries, and AdamW as a program calls it that names no implementation."""

from . import case


def prepared(make):
    def prepare(L, x):
        params = [L.nn.Parameter(p.clone()) for p in x[0].unbind(0)]
        for p, g in zip(params, x[1].unbind(0)):
            p.grad = g.clone()
        return make(L, params), params

    return prepare


def step(L, optimizer, params):
    optimizer.step()
    return params[0]


OPTIMIZERS = {
    # buffers of the size of the parameters that are read or written in a step
    "AdamW": (lambda L, p: L.optim.AdamW(p, lr=1e-3, fused=True), 7),
    "AdamW default": (lambda L, p: L.optim.AdamW(p, lr=1e-3), 7),
    "Adam amsgrad": (lambda L, p: L.optim.Adam(p, lr=1e-3, amsgrad=True, fused=True), 9),
    "SGD momentum": (lambda L, p: L.optim.SGD(p, lr=1e-3, momentum=0.9, fused=True), 5),
    "SGD": (lambda L, p: L.optim.SGD(p, lr=1e-3, fused=True), 3),
}
for name, (make, buffers) in OPTIMIZERS.items():
    for count, numel in ((100, 1024), (1, 1 << 24)):
        case(
            name,
            f"{count} x {numel}",
            inputs=lambda s, count=count, numel=numel: [s.normal(2, count, numel)],
            prepare=prepared(make),
            fn=step,
            bytes=4 * buffers * count * numel,
            quick=name.startswith("AdamW"),
        )


def clip(L, params):
    return L.nn.utils.clip_grad_norm_(params, 1.0)


case(
    "clip_grad_norm_",
    "100 x 1024",
    inputs=lambda s: [s.normal(2, 100, 1024)],
    prepare=lambda L, x: (prepared(lambda L, p: p)(L, x)[1],),
    fn=clip,
    bytes=4 * 3 * 100 * 1024,
)
