"""Losses against formulas in float64; the scale of a sum is the sum of its terms."""

import numpy as np

from . import GRAD, NORM, WIDE_FLOATS, Sample, case

REDUCTIONS = ("none", "mean", "sum")


def reduced(terms, reduction):
    return terms if reduction == "none" else terms.sum() if reduction == "sum" else terms.mean()


def scale(oracle):
    """sum |terms| (or their mean) of the same oracle."""

    def magnitude(*args, reduction="mean", **kwargs):
        return reduced(np.abs(oracle(*args, reduction="none", **kwargs)) + 1.0, reduction)

    return magnitude


def pairs(shape=(4, 9), second="normal", **extra):
    def samples(s):
        out = []
        for reduction in REDUCTIONS:
            out.append(
                Sample(
                    (s.normal(*shape), getattr(s, second)(*shape)),
                    dict(reduction=reduction, **extra),
                )
            )
        return out

    return samples


def large(s):
    return Sample((s.normal(300, 500), s.normal(300, 500)), dict(reduction="mean"))


def pointwise(name, f, samples=None, **fields):
    def oracle(x, t, reduction="mean", **kwargs):
        return reduced(f(x, t, **kwargs), reduction)

    case(name, oracle, samples or pairs(), tol=NORM, scale=scale(oracle), **fields)


pointwise("mse_loss", lambda x, t: (x - t) ** 2, large=large)
pointwise("l1_loss", lambda x, t: np.abs(x - t), large=large, grad2=False)


def smooth(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * beta), d - beta / 2)


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2))


pointwise("smooth_l1_loss", smooth, pairs(beta=0.7), large=large)
pointwise("huber_loss", huber, pairs(delta=0.7), large=large)


def probabilities(s):
    return [Sample((s.uniform(3, 20, low=0.05, high=0.95), s.uniform(3, 20, low=0, high=1)), dict(reduction=r))
            for r in REDUCTIONS]  # fmt: skip


pointwise("binary_cross_entropy", lambda x, t: -(t * np.log(x) + (1 - t) * np.log1p(-x)), probabilities,
          dtypes=WIDE_FLOATS)  # fmt: skip


def softplus(x):
    return np.logaddexp(0, x)


def with_logits(x, t, weight=None, pos_weight=None):
    loss = (1 - t) * softplus(x) + (1 if pos_weight is None else pos_weight) * t * softplus(-x)
    return loss if weight is None else loss * weight


def logits(s):
    out = [Sample((s.normal(3, 20, scale=3.0), s.uniform(3, 20, low=0, high=1)), dict(reduction=r))
           for r in REDUCTIONS]  # fmt: skip
    out.append(Sample((s.normal(3, 5), s.uniform(3, 5, low=0, high=1)),
                      dict(reduction="mean", pos_weight=s.positive(5), weight=s.positive(3, 5))))  # fmt: skip
    return out


pointwise("binary_cross_entropy_with_logits", with_logits, logits, large=large, dtypes=WIDE_FLOATS)


def signs(s):
    return [
        Sample((s.distinct(4, 9), s.bools(4, 9) * 2 - 1), dict(reduction=r)) for r in REDUCTIONS
    ]


pointwise("soft_margin_loss", lambda x, t: softplus(-t * x), signs, dtypes=WIDE_FLOATS)
pointwise("hinge_embedding_loss", lambda x, t, margin=1.0: np.where(t == 1, x, np.maximum(0, margin - x)), signs,
          dtypes=WIDE_FLOATS)  # fmt: skip


def ranking(s):
    return [Sample((s.distinct(15), s.distinct(15) + 1 / 128, s.bools(15) * 2 - 1), dict(margin=0.1, reduction=r))
            for r in REDUCTIONS]  # fmt: skip


def ranking_oracle(a, b, t, margin=0.0, reduction="mean"):
    return reduced(np.maximum(0, -t * (a - b) + margin), reduction)


case(
    "margin_ranking_loss",
    ranking_oracle,
    ranking,
    tol=NORM,
    scale=scale(ranking_oracle),
    dtypes=WIDE_FLOATS,
)


def kl(x, t, log_target=False):
    return np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)


def kl_samples(s):
    return [Sample((s.normal(3, 5), s.positive(3, 5)), dict(reduction=r)) for r in REDUCTIONS] + [
        Sample((s.normal(3, 5), s.normal(3, 5)), dict(reduction="sum", log_target=True))]  # fmt: skip


pointwise("kl_div", kl, kl_samples, dtypes=WIDE_FLOATS)


def poisson(x, t, log_input=True, full=False, eps=1e-8):
    loss = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        safe = np.maximum(t, 1)
        loss = loss + np.where(
            t > 1, safe * np.log(safe) - safe + 0.5 * np.log(2 * np.pi * safe), 0
        )
    return loss


pointwise("poisson_nll_loss", poisson,
          lambda s: [Sample((s.positive(3, 5), s.positive(3, 5)), dict(log_input=li, full=full, reduction="mean"))
                     for li in (True, False) for full in (True, False)], dtypes=WIDE_FLOATS)  # fmt: skip


def gaussian_oracle(x, t, var, full=False, eps=1e-6, reduction="mean"):
    v = np.maximum(var, eps)
    loss = 0.5 * (np.log(v) + (x - t) ** 2 / v) + (0.5 * np.log(2 * np.pi) if full else 0)
    return reduced(loss, reduction)


case("gaussian_nll_loss", gaussian_oracle,
     lambda s: [Sample((s.normal(3, 5), s.normal(3, 5), s.positive(3, 5)), dict(full=full, reduction=r))
                for full in (True, False) for r in REDUCTIONS],
     tol=NORM, scale=scale(gaussian_oracle), dtypes=WIDE_FLOATS)  # fmt: skip


# ---- classes


def log_softmax(x, axis):
    z = x - x.max(axis=axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


def nll_terms(logp, target, weight, smoothing):
    axis = 0 if logp.ndim == 1 else 1
    w = np.ones(logp.shape[axis]) if weight is None else weight
    shape = [1] * logp.ndim
    shape[axis] = -1
    per_class = -logp * w.reshape(shape)
    picked = np.take_along_axis(per_class, np.expand_dims(target, axis), axis).squeeze(axis)
    return (1 - smoothing) * picked + smoothing / logp.shape[axis] * per_class.sum(axis), w[target]


def classes_oracle(
    logp, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"
):
    used = target != ignore_index
    terms, w = nll_terms(logp, np.where(used, target, 0), weight, label_smoothing)
    terms, w = np.where(used, terms, 0), np.where(used, w, 0)
    return (
        terms
        if reduction == "none"
        else terms.sum()
        if reduction == "sum"
        else terms.sum() / w.sum()
    )


def cross_entropy_oracle(x, target, weight=None, label_smoothing=0.0, reduction="mean", **kwargs):
    logp = log_softmax(x, 0 if x.ndim == 1 else 1)
    if target.dtype.kind == "f":
        axis = 0 if x.ndim == 1 else 1
        shape = [1] * x.ndim
        shape[axis] = -1
        w = 1 if weight is None else weight.reshape(shape)
        t = target * (1 - label_smoothing) + label_smoothing / x.shape[axis]
        return reduced(-(w * t * logp).sum(axis), reduction)
    return classes_oracle(
        logp, target, weight, label_smoothing=label_smoothing, reduction=reduction, **kwargs
    )


def class_samples(smoothing):
    def samples(s):
        out = []
        for shape in ((5,), (4, 7), (3, 40), (2, 5, 3), (2, 3, 4, 17)):
            rest = shape[:0] if len(shape) == 1 else (shape[0], *shape[2:])
            c = shape[0] if len(shape) == 1 else shape[1]
            target = s.ints(*rest, low=0, high=c)
            for reduction in REDUCTIONS:
                out.append(Sample((s.normal(*shape), target), dict(reduction=reduction)))
            if len(shape) > 1:
                ignored = np.where(target == 1, 2, target)
                ignored.reshape(-1)[0] = 1
                extra = dict(label_smoothing=0.1) if smoothing else {}
                out.append(
                    Sample(
                        (s.normal(*shape), ignored),
                        dict(weight=s.positive(c), ignore_index=1, **extra),
                    )
                )
                if smoothing:
                    out.append(
                        Sample(
                            (s.normal(*shape), target), dict(label_smoothing=0.3, reduction="none")
                        )
                    )
        return out

    return samples


case("cross_entropy", cross_entropy_oracle, class_samples(True), tol=NORM, scale=lambda *a, **k: 8.0, grad=(0,),
     large=lambda s: Sample((s.normal(150, 1000), s.ints(150, low=0, high=1000))))  # fmt: skip
case("cross_entropy_probabilities", cross_entropy_oracle,
     lambda s: [Sample((s.normal(4, 6), s.positive(4, 6)), dict(reduction=r, label_smoothing=e))
                for r in REDUCTIONS for e in (0.0, 0.2)],
     fn="cross_entropy", tol=NORM, scale=lambda *a, **k: 40.0, dtypes=WIDE_FLOATS)  # fmt: skip
case("nll_loss", lambda x, t, **k: classes_oracle(x, t, **k), class_samples(False), tol=NORM,
     scale=lambda *a, **k: 8.0, grad=(0,), dtypes=WIDE_FLOATS)  # fmt: skip


def multi_margin(x, target, p=1, margin=1.0, weight=None, reduction="mean"):
    n, c = x.shape
    cost = np.maximum(0, margin - x[np.arange(n), target][:, None] + x) ** p
    if weight is not None:
        cost = cost * weight[target][:, None]
    cost[np.arange(n), target] = 0
    return reduced(cost.sum(1) / c, reduction)


case("multi_margin_loss", multi_margin,
     lambda s: [Sample((s.distinct(4, 6), s.ints(4, low=0, high=6)), dict(p=p, reduction=r)) for p in (1, 2)
                for r in REDUCTIONS],
     tol=NORM, grad=(0,), dtypes=WIDE_FLOATS)  # fmt: skip


def multilabel_margin(x, target, reduction="mean"):
    out = []
    for row, labels in zip(x, target):
        labels = labels[: np.flatnonzero(labels == -1)[0]] if (labels == -1).any() else labels
        others = [i for i in range(row.size) if i not in labels]
        out.append(sum(max(0.0, 1 - (row[j] - row[i])) for j in labels for i in others) / row.size)
    return reduced(np.array(out), reduction)


case("multilabel_margin_loss", multilabel_margin,
     lambda s: [Sample((s.distinct(2, 4), np.array([[3, 0, -1, 1], [2, -1, 0, 0]])), dict(reduction=r))
                for r in REDUCTIONS],
     tol=NORM, grad=(0,), dtypes=WIDE_FLOATS)  # fmt: skip
case("multilabel_soft_margin_loss",
     lambda x, t, reduction="mean": reduced(with_logits(x, t).mean(-1), reduction),
     lambda s: [Sample((s.normal(3, 5), s.uniform(3, 5, low=0, high=1)), dict(reduction=r)) for r in REDUCTIONS],
     tol=NORM, dtypes=WIDE_FLOATS)  # fmt: skip


# ---- distances


def norm(x, axis=-1, keepdims=False):
    return np.sqrt((x * x).sum(axis, keepdims=keepdims))


case("cosine_similarity", lambda a, b, dim=1: (a * b).sum(dim) / (norm(a, dim) * norm(b, dim)),
     lambda s: [Sample((s.normal(4, 7), s.normal(4, 7))), Sample((s.normal(4, 7), s.normal(4, 7)), dict(dim=0))],
     tol=NORM, scale=lambda *a, **k: 1.0, dtypes=WIDE_FLOATS)  # fmt: skip
case("pairwise_distance", lambda a, b: norm(a - b + 1e-6), lambda s: [Sample((s.normal(4, 7), s.normal(4, 7)))],
     tol=NORM, dtypes=WIDE_FLOATS)  # fmt: skip
case("cdist", lambda a, b: norm(a[..., :, None, :] - b[..., None, :, :]),
     lambda s: [Sample((s.normal(4, 7), s.normal(5, 7))), Sample((s.normal(2, 3, 5), s.normal(2, 4, 5)))],
     tol=NORM, dtypes=WIDE_FLOATS)  # fmt: skip


def cosine_embedding(a, b, t, margin=0.0, reduction="mean"):
    c = (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + 1e-12) * ((b * b).sum(-1) + 1e-12))
    return reduced(np.where(t == 1, 1 - c, np.maximum(0, c - margin)), reduction)


case("cosine_embedding_loss", cosine_embedding,
     lambda s: [Sample((s.normal(5, 7), s.normal(5, 7), s.bools(5) * 2 - 1), dict(reduction=r)) for r in REDUCTIONS],
     tol=NORM, scale=lambda *a, **k: 2.0, dtypes=WIDE_FLOATS)  # fmt: skip


def triplet(a, p, n, margin=1.0, swap=False, reduction="mean"):
    near, far = norm(a - p + 1e-6), norm(a - n + 1e-6)
    if swap:
        far = np.minimum(far, norm(p - n + 1e-6))
    return reduced(np.maximum(0, near - far + margin), reduction)


case("triplet_margin_loss", triplet,
     lambda s: [Sample((s.normal(5, 7), s.normal(5, 7), s.normal(5, 7)), dict(swap=w, reduction=r))
                for w in (False, True) for r in REDUCTIONS],
     tol=NORM, scale=lambda *a, **k: 8.0, dtypes=WIDE_FLOATS)  # fmt: skip


def ctc(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean"):
    """Sums the probabilities of all label paths, grouped by what they read so far."""
    losses = []
    for n, (frames, length) in enumerate(zip(input_lengths, target_lengths)):
        want = tuple(int(c) for c in targets[n, :length])
        found = {((), blank): 1.0}  # (labels read, last label of the path): probability
        for row in np.exp(log_probs[:frames, n]):
            after: dict = {}
            for (read, last), p in found.items():
                for c, q in enumerate(row):
                    now = read if c in (blank, last) else (*read, c)
                    if now == want[: len(now)]:
                        after[now, c] = after.get((now, c), 0.0) + p * q
            found = after
        losses.append(-np.log(sum(p for (read, _), p in found.items() if read == want)))
    losses = np.array(losses)
    return reduced(
        losses / np.maximum(target_lengths, 1) if reduction == "mean" else losses, reduction
    )


def ctc_samples(s):
    logits = s.normal(9, 3, 5)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    targets = np.array([[1, 1, 2, 3], [4, 3, 0, 0], [2, 0, 0, 0]])
    lengths = (np.array([9, 7, 9]), np.array([4, 2, 0]))
    return [Sample((log_probs, targets, *lengths), dict(reduction=r)) for r in REDUCTIONS] + [
        Sample((log_probs, targets % 4, *lengths), dict(blank=4)),
    ]


case(
    "ctc_loss",
    ctc,
    ctc_samples,
    fn="nn.functional.ctc_loss",
    tol=NORM,
    scale=lambda *a, **k: 20.0,
    grad2=False,
)


def pdist(x, p=2.0):
    rows, cols = np.triu_indices(len(x), 1)
    d = np.abs(x[rows] - x[cols])
    return d.max(axis=1, initial=0) if p == np.inf else (d**p).sum(axis=1) ** (1 / p)


case(
    "pdist", pdist, lambda s: [
        Sample((s.normal(5, 7),)), Sample((s.normal(4, 3), 1.0)), Sample((s.normal(1, 3),)),
        Sample((s.normal(0, 3),)), Sample((s.normal(6, 2), np.inf)),
    ], tol=GRAD, dtypes=WIDE_FLOATS,
)  # fmt: skip
