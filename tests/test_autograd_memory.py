"""Deep graphs, and what a graph keeps alive."""

import gc
import threading

import tercel


def build_chain(n):
    x = tercel.ones(1, requires_grad=True)
    y = x
    for _ in range(n):
        y = y + 1
    return x, y


def test_deep_chains_build_run_and_are_freed():
    x, y = build_chain(200_000)
    y.backward()
    assert x.grad.item() == 1.0
    del y
    x, y = build_chain(200_000)  # freed without a backward
    del x, y


def test_deep_chain_on_a_small_stack():
    threading.stack_size(256 * 1024)
    try:
        errors = []

        def work():
            try:
                x, y = build_chain(50_000)
                y.backward()
                assert x.grad.item() == 1.0
                build_chain(50_000)
            except BaseException as e:
                errors.append(e)

        t = threading.Thread(target=work)
        t.start()
        t.join()
        assert not errors
    finally:
        threading.stack_size(0)


def test_no_tensor_outlives_its_graph():
    gc.collect()
    before = tercel.memory_stats()["num_live"]
    for _ in range(50):
        x = tercel.ones(8, requires_grad=True)
        y = (x * 2).sin()
        y.mul_(3)
        y[2:].add_(x[:6])
        (y * y).sum().backward()
        z = x * 2
        z.register_hook(lambda g, z=z: g)
    del x, y, z
    gc.collect()
    assert tercel.memory_stats()["num_live"] <= before + 2
