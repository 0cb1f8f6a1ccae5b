"""Three cases that show how a family file looks; the families have files of their own."""

import numpy as np

from . import ALL, EXACT, FLOATS, Sample, case

SHAPES = [(), (1,), (0,), (17,), (3, 5), (2, 3, 4), (2, 0)]


def shapes(s):
    return [Sample((s.distinct(*shape),)) for shape in SHAPES]


case("clone", fn=lambda x: x.clone(), oracle=lambda x: x, samples=shapes, dtypes=ALL, tol=EXACT)

case(
    "contiguous",
    fn=lambda x: x.contiguous(),
    oracle=lambda x: x,
    samples=shapes,
    dtypes=ALL,
    tol=EXACT,
    large=lambda s: Sample((s.normal(300, 500),)),
)

case(
    "double",
    fn=lambda x: x.double(),
    oracle=lambda x: np.asarray(x, dtype=np.float64),
    samples=shapes,
    dtypes=FLOATS,
    tol=EXACT,
)
