"""Runtime promises: memory, threads, fork, signals, interpreter exit, import cost."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import tercel


def run(code: str, timeout: float = 60, **env):
    """Runs a Python program in a fresh interpreter."""
    path = os.path.dirname(os.path.dirname(os.path.abspath(tercel.__file__)))
    full = {**os.environ, "PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", ""), **env}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=full,
    )


def check(code: str, **kwargs) -> str:
    result = run(code, **kwargs)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_import_is_light():
    out = check(
        """
        import sys, tercel
        heavy = {"numpy", "tqdm", "matplotlib", "torch", "multiprocessing", "ml_dtypes"} & set(sys.modules)
        assert not heavy, heavy
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["VmRSS"].split()[0]) / 1024)
        """
    )
    assert float(out) < 40


def test_import_time_ratio():
    def best(code):
        times = []
        for _ in range(5):
            t = time.perf_counter()
            check(code)
            times.append(time.perf_counter() - t)
        return min(times)

    # Against an empty interpreter plus json, so that a slow machine does not fail.
    assert best("import tercel") < 3 * best("import json") + 0.05


def test_memory_is_reused_and_counted():
    tercel.empty_cache()
    base = tercel.memory_stats()["allocated_bytes"]
    t = tercel.zeros(1 << 22)
    assert tercel.memory_stats()["allocated_bytes"] - base >= 1 << 24
    address = t.data_ptr()
    assert address % 64 == 0
    del t
    assert tercel.memory_stats()["allocated_bytes"] == base
    assert tercel.zeros(1 << 22).data_ptr() == address
    gc.collect()
    reserved = tercel.memory_stats()["reserved_bytes"]
    tercel.empty_cache()
    assert tercel.memory_stats()["reserved_bytes"] <= reserved - (1 << 24)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 20, 1 << 20), (1 << 45,)])
def test_out_of_memory_is_clean(shape):
    before = tercel.memory_stats()["allocated_bytes"]
    with pytest.raises(tercel.OutOfMemoryError, match="requested") as e:
        tercel.empty(*shape)
    assert isinstance(e.value, MemoryError) and isinstance(e.value, RuntimeError)
    assert tercel.memory_stats()["allocated_bytes"] == before
    assert tercel.ones(3).sum().item() == 3


@pytest.mark.parametrize("shape", [(1 << 62, 4), (1 << 32, 1 << 32), (1 << 63 - 1, 2, 0)])
def test_sizes_that_overflow(shape):
    with pytest.raises(OverflowError):
        tercel.empty(*shape)
    with pytest.raises(ValueError):
        tercel.empty(-1)


def test_thread_count_is_validated():
    n = tercel.get_num_threads()
    for bad in (0, -1, 100_000):
        with pytest.raises(ValueError, match="set_num_threads"):
            tercel.set_num_threads(bad)
    with pytest.raises(TypeError):
        tercel.set_num_threads("2")
    assert tercel.get_num_threads() == n


def test_same_bits_for_any_thread_count():
    x = tercel.randn(1000, 1000)
    n = tercel.get_num_threads()
    try:
        results = set()
        for threads in (1, 2, 3, 8):
            tercel.set_num_threads(threads)
            y = tercel.tanh(x @ x) + x.sum(0)
            results.add(bytes(y.numpy().data))
        assert len(results) == 1
    finally:
        tercel.set_num_threads(n)


def test_many_python_threads_compute_at_once():
    x = tercel.randn(300, 300)
    expected = bytes((x @ x).exp().numpy().data)
    wrong = []

    def work():
        for _ in range(20):
            if bytes((x @ x).exp().numpy().data) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_oversubscription_does_not_collapse():
    x = tercel.randn(512, 512)

    def best(n):
        tercel.set_num_threads(n)
        x @ x
        return min(timed() for _ in range(7))

    def timed():
        t = time.perf_counter()
        for _ in range(5):
            x @ x
        return time.perf_counter() - t

    n = tercel.get_num_threads()
    try:
        assert best(16) < 4 * best(2) + 0.02
    finally:
        tercel.set_num_threads(n)


def test_child_of_a_fork_may_compute():
    check(
        """
        import os, tercel
        x = tercel.randn(600, 600)
        y = (x @ x).sum()
        pid = os.fork()
        if pid == 0:
            ok = bytes((x @ x).sum().numpy().data) == bytes(y.numpy().data)
            tercel.set_num_threads(2)
            ok = ok and bool(((x @ x).sum() == y).item())
            os._exit(0 if ok else 3)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert ((x @ x).sum() == y).item()
        """
    )


def test_keyboard_interrupt_between_ops_and_in_backward():
    code = """
        import signal
        import tercel
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        x = tercel.ones(1, requires_grad=True)
        y = x
        for _ in range(300_000):
            y = y + 1
        print("ready", flush=True)
        try:
            while True:
                y.backward(retain_graph=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert tercel.ones(2).sum().item() == 2
        """
    path = os.path.dirname(os.path.dirname(os.path.abspath(tercel.__file__)))
    p = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert p.stdout.readline().strip() == "ready"
    time.sleep(0.3)
    t = time.perf_counter()
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=20)
    assert "interrupted" in out and p.returncode == 0
    assert time.perf_counter() - t < 4


def test_exit_with_a_daemon_thread_inside_a_kernel():
    for _ in range(3):
        check(
            """
            import threading, time, tercel
            x = tercel.randn(700, 700)
            def work():
                while True:
                    x @ x
            for _ in range(3):
                threading.Thread(target=work, daemon=True).start()
            time.sleep(0.2)
            """
        )


def test_objects_alive_at_exit():
    check(
        """
        import tercel
        x = tercel.ones(3, requires_grad=True)
        x.register_hook(lambda g: g)
        y = (x * 2).sum()
        class F(tercel.autograd.Function):
            @staticmethod
            def forward(ctx, a): ctx.save_for_backward(a); return a * 1
            @staticmethod
            def backward(ctx, g): return g
        z = F.apply(x)
        import sys; sys.keep = (x, y, z)
        """
    )


def test_isa_is_chosen_by_name():
    assert (
        check("import tercel; print(tercel.get_isa())", TERCEL_ISA="generic").strip() == "generic"
    )
    bad = run("import tercel", TERCEL_ISA="mmx")
    assert bad.returncode == 1 and "available" in bad.stderr
    current = tercel.get_isa()
    with pytest.raises(ValueError, match="available"):
        tercel.set_isa("sse")
    assert tercel.get_isa() == current


def test_guard_pages_catch_an_over_read():
    code = """
        import ctypes, tercel
        t = tercel.ones(3, dtype=tercel.float64)
        ctypes.string_at(t.data_ptr(), 24)
        print("inside", flush=True)
        ctypes.string_at(t.data_ptr(), 25)
        """
    result = run(code, TERCEL_GUARD="end")
    assert "inside" in result.stdout and result.returncode == -signal.SIGSEGV


def test_generator_state():
    g = tercel.Generator().manual_seed(3)
    a = tercel.rand(5, generator=g)
    state = g.get_state()
    b = tercel.rand(5, generator=g)
    g.set_state(state)
    assert tercel.rand(5, generator=g).tolist() == b.tolist() and a.tolist() != b.tolist()
    tercel.manual_seed(1)
    saved = tercel.get_rng_state()
    x = tercel.rand(3)
    tercel.set_rng_state(saved)
    assert tercel.rand(3).tolist() == x.tolist() and tercel.initial_seed() == 1
    for bad in (tercel.zeros(2), tercel.zeros(3, dtype=tercel.int64)):
        with pytest.raises(ValueError, match="set_state"):
            g.set_state(bad)


def test_no_memory_grows_over_repeated_errors():
    import resource

    def rounds(n):
        for _ in range(n):
            for bad in (
                lambda: tercel.ones(2).view(3),
                lambda: tercel.tensor([[1], [2, 3]]),
                lambda: tercel.empty(1 << 50),
            ):
                with pytest.raises((ValueError, MemoryError)):
                    bad()

    rounds(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds(2000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5 * 1024


def test_overhead_of_tiny_ops():
    """Ratios to NumPy's a + b, measured in turn: what an op costs besides its kernel."""
    import numpy as np

    a, b = np.ones(4, np.float32), np.full(4, 2, np.float32)
    x, y = tercel.tensor(a), tercel.tensor(b)
    w = tercel.ones(4, requires_grad=True)
    calls = {
        "numpy": (lambda: a + b, None),
        "add": (lambda: x + y, 2),
        "add with grad": (lambda: x + w, 4),
        "slice": (lambda: x[1:3], 2),
        "backward": (lambda: (x * w).sum().backward(), 30),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(15):
        for name, (f, _limit) in calls.items():
            t = time.perf_counter()
            for _ in range(300):
                f()
            best[name] = min(best[name], time.perf_counter() - t)
    for name, (_, limit) in calls.items():
        ratio = best[name] / best["numpy"]
        assert limit is None or ratio < limit, (
            f"{name}: {ratio:.1f} times the time of NumPy's a + b"
        )


def test_training_leaks_nothing():
    """Tensors alive and memory of the process after many steps with hooks, checkpoints, errors and copies."""
    import copy
    import resource

    from tercel import nn
    from tercel.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = tercel.optim.AdamW(model.parameters())
    handle = model[0].register_forward_hook(lambda module, args, out: out * 1)
    x, target = tercel.randn(4, 8), tercel.tensor([0, 1, 2, 0])

    def step():
        h = checkpoint(model, x, use_reentrant=False)
        loss = nn.functional.cross_entropy(h, target)
        optimizer.zero_grad()
        loss.backward(create_graph=False)
        optimizer.step()
        with pytest.raises(RuntimeError):
            loss.backward()
        copy.deepcopy(model).load_state_dict(model.state_dict())
        copy.deepcopy(optimizer)

    def run_steps(n):
        for _ in range(n):
            step()
        gc.collect()
        return tercel.memory_stats()["num_live"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    run_steps(20)
    live, peak = run_steps(20)
    after, peak_after = run_steps(100)
    handle.remove()
    assert after <= live + 2
    assert peak_after - peak < 8 * 1024
