"""Plants bugs in the CUDA kernels and asks the emulated tests whether they notice; prints the catch rate.

    python tests/cuda/mutate.py [--asm] [--only TEXT] [--every N] [--jobs 2] [--no-sanitizers]

Each mutant is a text replacement in a copy of a kernel header. It counts as caught when the tests fail (wrong
values, a deadlock, an error of the emulator), or, for bugs that only timing on hardware would show, when
ThreadSanitizer or AddressSanitizer reports something. The unchanged sources must pass first. Exit status 1 if a
mutant survives. --asm plants bugs in the inline asm instead, which only the PTX route (ptx.py, needs nvcc) can see.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ptx

ROOT = Path(__file__).resolve().parents[2]
MATMUL = "csrc/ops/matmul/"
PRODUCTS = "mutation/products.cpp"
WGMMA = "mutation/wgmma.cpp"
ORDER = "mutation/order.cpp"
CTC = "mutation/ctc.cpp"
FLAGS = "-std=c++20 -ffp-contract=off -fno-math-errno -w".split()
MODES = {
    "plain": ["-O1"],
    "tsan": ["-O1", "-g1", "-fsanitize=thread"],
    "asan": ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}


@dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str
    program: str = PRODUCTS


def mma(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"mma: {name}", MATMUL + "gemm_mma.cuh", old, new)


def wgmma(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"wgmma: {name}", MATMUL + "gemm_wgmma.cuh", old, new, WGMMA)


def other(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, MATMUL + file, old, new)


def ctc(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"ctc: {name}", "csrc/ops/loss/ctc.cu", old, new, CTC)


def order(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"order: {name}", f"csrc/{file}", old, new, ORDER)


MUTANTS = [
    order(
        "bitonic: no barrier between the steps",
        "ops/sort/sort_block.cuh",
        "      __syncthreads();\n      for (int t",
        "      for (int t",
    ),
    order("bitonic: wrong direction", "ops/sort/sort_block.cuh", "(i & run) == 0", "(i & d) == 0"),
    order(
        "bitonic: ties not by index",
        "ops/sort/sort_block.cuh",
        "a > b || (a == b && p > q)",
        "a > b",
    ),
    order(
        "select: one equal element too few",
        "ops/sort/sort_block.cuh",
        "rank_equal < need",
        "rank_equal + 1 < need",
    ),
    order(
        "select: counters not cleared for all before use",
        "ops/sort/sort_block.cuh",
        "counts[d] = 0;\n    __syncthreads();",
        "counts[d] = 0;",
    ),
    order(
        "select: prefix of the digits dropped",
        "ops/sort/sort_block.cuh",
        "shift + 8 == bits || key >> (shift + 8) == prefix",
        "true",
    ),
    order(
        "radix: rank counts itself",
        "ops/sort/sort_radix.cuh",
        "same & ((1u << lane) - 1u)",
        "same & ((2u << lane) - 1u)",
    ),
    order(
        "radix: count written before all have read it",
        "ops/sort/sort_radix.cuh",
        "    __syncwarp();\n    if (inside",
        "    if (inside",
    ),
    order(
        "radix: seven bits",
        "ops/sort/sort_radix.cuh",
        "for (int b = 0; b < 8",
        "for (int b = 0; b < 7",
    ),
    order(
        "radix: no barrier before the places are taken",
        "ops/sort/sort_radix.cuh",
        "    __syncwarp();\n  }\n  __syncthreads();",
        "    __syncwarp();\n  }",
    ),
    order("radix: tiles overlap", "ops/sort/sort_radix.cuh", "    place += total;\n", ""),
    order(
        "mask: ranks within a lane", "ops/index/mask.cu", "found += __popc(votes)", "found += own"
    ),
    order(
        "mask: no barrier before the counts are read",
        "ops/index/mask.cu",
        "counts[warp] = own;\n  __syncthreads();",
        "counts[warp] = own;",
    ),
    order("scan: lanes wrap", "cuda/scan.cuh", "if (lane >= d) sum += before", "sum += before"),
    order(
        "scan: shared memory used again too early",
        "cuda/scan.cuh",
        "  __syncthreads();\n  *total = all;",
        "  *total = all;",
    ),
    order(
        "cumsum: no barrier before the neighbour is read",
        "ops/reduce/order.cu",
        "shared[threadIdx.x / 32] = through;\n    __syncthreads();",
        "shared[threadIdx.x / 32] = through;",
    ),
    order("cumsum: pieces not joined", "ops/reduce/order.cu", "    before += total;\n", ""),
    mma(
        "no barrier in the k loop",
        "    __syncthreads();  // stage `step` has landed for all; stage `step - 1` has been read by all\n",
        "",
    ),
    mma(
        "waits for one group too few",
        "cp_async_wait<kStages - 2>()",
        "cp_async_wait<kStages - 1>()",
    ),
    mma(
        "commit only when something was loaded",
        "    if (next < steps) load(next % kStages, next);\n    cp_async_commit();",
        "    if (next < steps) { load(next % kStages, next); cp_async_commit(); }",
    ),
    mma(
        "loads into the stage being read",
        "load(next % kStages, next)",
        "load(step % kStages, next)",
    ),
    mma(
        "A fragment: lanes permuted",
        "at(row + lane % 16, step * 2 + lane / 16)",
        "at(row + lane / 2, step * 2 + lane % 2)",
    ),
    mma(
        "A fragment, transposed: halves exchanged",
        "at(step * 16 + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2)",
        "at(step * 16 + lane / 8 % 2 * 8 + lane % 8, row / 8 + lane / 16)",
    ),
    mma(
        "B fragment: halves exchanged",
        "at(row + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2)",
        "at(row + lane / 8 % 2 * 8 + lane % 8, step * 2 + lane / 16)",
    ),
    mma(
        "B fragment, transposed: halves exchanged",
        "at(step * 16 + lane / 8 % 2 * 8 + lane % 8, row / 8 + lane / 16)",
        "at(step * 16 + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2)",
    ),
    mma(
        "B fragment not transposed",
        "ldmatrix_x4_trans(\n          r, stage + at(step * 16 + lane / 8",
        "ldmatrix_x4(\n          r, stage + at(step * 16 + lane / 8",
    ),
    mma("B registers in the wrong order", "b[j + e / 2][e % 2]", "b[j + e % 2][e / 2]"),
    mma("swizzle dropped", "unit ^ (line & 7)", "unit"),
    mma("swizzle of half the lines", "unit ^ (line & 7)", "unit ^ (line & 3)"),
    mma(
        "tail of k not cut",
        "left = left < 0 ? 0 : left > kUnit ? kUnit : left;",
        "left = left <= 0 ? 0 : kUnit;",
    ),
    mma(
        "rows past the end are loaded",
        "i * kPass < lines ? left * static_cast<int>(sizeof(T)) : 0",
        "left * static_cast<int>(sizeof(T))",
    ),
    mma(
        "rows past the end are loaded, misaligned operands",
        "i * kPass < lines && e < left",
        "e < left",
    ),
    mma("copies overlap", "i * (kPass * kUnits * 16)", "i * (kPass * kUnits * 8)"),
    mma(
        "copies of one line only",
        "        src += kPass * stride;\n      }\n    } else",
        "      }\n    } else",
    ),
    mma("misaligned operands through cp.async", "if (aligned) {", "if (true) {"),
    mma(
        "no barrier before the sums are staged",
        "  __syncthreads();  // the last stage has been read by all; no copy is under way\n",
        "",
    ),
    mma(
        "no barrier after the sums are staged",
        "  __syncthreads();\n  const int64_t slice",
        "  const int64_t slice",
    ),
    mma("epilogue: lower rows misplaced", "tile + (row + 8) * kPitch", "tile + (row + 4) * kPitch"),
    mma("epilogue: bound of m", "if (m >= p.M || n >= p.N) continue;", "if (n >= p.N) continue;"),
    mma("epilogue: bound of n", "if (m >= p.M || n >= p.N) continue;", "if (m >= p.M) continue;"),
    mma("epilogue: last odd column", "n + 1 < p.N ? 2 : 1;", "2;"),
    mma("splits overlap", "k_begin + p.split_k < p.K ? k_begin + p.split_k : p.K", "p.K"),
    mma(
        "first split only",
        "for (int s = 1; s < splits; ++s) sum +=",
        "for (int s = 1; s < 1; ++s) sum +=",
    ),
    other(
        "tiles: ragged last group",
        "gemm_epilogue.cuh",
        "tiles_m - first < 8 ? tiles_m - first : 8",
        "8",
    ),
    other("epilogue: beta ignored", "gemm_epilogue.cuh", "if (g.beta != 0.0) {", "if (false) {"),
    other(
        "epilogue: bias of the row",
        "gemm_epilogue.cuh",
        "static_cast<const Out*>(g.bias)[n]",
        "static_cast<const Out*>(g.bias)[m % 2]",
    ),
    other("epilogue: silu sign", "gemm_epilogue.cuh", "::exp(-x)", "::exp(x)"),
    other(
        "simt: no barrier",
        "gemm_simt.cuh",
        "    __syncthreads();  // the other stage has been read by all when the next put comes\n",
        "",
    ),
    other("simt: one stage", "gemm_simt.cuh", "stage ^= 1;", ""),
    other("simt: tail of k", "gemm_simt.cuh", "ka < p.K ?", "ka <= p.K ?"),
    other(
        "simt: fetch skips a tile",
        "gemm_simt.cuh",
        "if (k0 + BK < p.K) fetch(k0 + BK);",
        "if (k0 + BK < p.K) fetch(k0 + 2 * BK);",
    ),
    other(
        "simt: no barrier between staged rows",
        "gemm_simt.cuh",
        "    __syncthreads();\n    TERCEL_UNROLL\n    for (int j = 0; j < R; ++j) tile_a[tm]",
        "    TERCEL_UNROLL\n    for (int j = 0; j < R; ++j) tile_a[tm]",
    ),
    other(
        "gemv: shuffle misses half the lanes",
        "gemm_gemv.cuh",
        "int o = 16; o; o >>= 1",
        "int o = 8; o; o >>= 1",
    ),
    other(
        "gemv: nibbles exchanged",
        "gemm_gemv.cuh",
        "high ? byte >> 4 : byte & 15",
        "high ? byte & 15 : byte >> 4",
    ),
    other("gemv: nibbles without sign", "gemm_gemv.cuh", "(code ^ 8) - 8", "code"),
    other(
        "gemv: scale of the wrong group", "gemm_gemv.cuh", "n * groups + k / p.group", "n * groups"
    ),
    other(
        "gemv: tail dropped",
        "gemm_gemv.cuh",
        "int64_t k = whole + lane; k < p.K; k += 32",
        "int64_t k = whole + lane + 32; k < p.K; k += 32",
    ),
    other(
        "gemv: wrong lane stores",
        "gemm_gemv.cuh",
        "lane == m * kColumns + c",
        "lane == c * kRows + m",
    ),
    wgmma(
        "stage released before it was read",
        "        wgmma_wait<1>();\n        if (previous >= 0 && thread == 0) mbarrier_arrive(empty(previous));\n        previous = s;",
        "        if (previous >= 0 && thread == 0) mbarrier_arrive(empty(previous));\n        previous = s;\n        wgmma_wait<1>();",
    ),
    wgmma("sums read before they arrive", "      wgmma_wait<0>();\n", ""),
    wgmma(
        "expects too few bytes",
        "mbarrier_arrive_expect(full(s), S::kStageBytes)",
        "mbarrier_arrive_expect(full(s), S::kBytesA)",
    ),
    wgmma("parity of the producer", "(round & 1) ^ 1", "round & 1"),
    wgmma("count of the empty barrier", "mbarrier_init(empty(s), 2)", "mbarrier_init(empty(s), 1)"),
    wgmma("descriptor step", "a + k * 2, b + k * 2", "a + k * 4, b + k * 4"),
    wgmma(
        "rows of the second consumer", "stage + consumer * 64 * 128", "stage + consumer * 32 * 128"
    ),
    wgmma(
        "no barrier after the initialisation",
        "    mbarrier_fence_init();\n  }\n  __syncthreads();",
        "    mbarrier_fence_init();\n  }",
    ),
    wgmma("consumer does not wait", "        mbarrier_wait(full(s), round & 1);\n", ""),
    wgmma("no wgmma.fence", "        wgmma_fence();\n", ""),
    wgmma("sums of the tile before", "step + k > 0", "true"),
    wgmma("sums cleared in the middle", "step + k > 0", "step > 0"),
    wgmma(
        "ring index after the last stage",
        "        if (++s == S::kStages) {\n          s = 0;\n          ++round;\n        }\n      }\n      wgmma_wait",
        "        if (++s == S::kStages) {\n          s = 0;\n        }\n      }\n      wgmma_wait",
    ),
    wgmma(
        "last stage not released",
        "      if (thread == 0) mbarrier_arrive(empty(previous));\n\n",
        "\n",
    ),
    wgmma(
        "staging written while it is stored",
        "        if (thread == 0) tma_store_wait_read<0>();\n        named_barrier",
        "        named_barrier",
    ),
    wgmma(
        "no barrier before the staging is written",
        "        named_barrier(1 + consumer, 128);  // the staging area is free\n",
        "",
    ),
    wgmma(
        "no barrier before the store",
        "        named_barrier(1 + consumer, 128);  // everyone's part is there\n",
        "",
    ),
    wgmma(
        "consumers share a barrier",
        "named_barrier(1 + consumer, 128);  // the",
        "named_barrier(1, 128);  // the",
    ),
    wgmma("no proxy fence", "        proxy_fence();\n", ""),
    wgmma(
        "no wait before the block ends",
        "    if (thread == 0) tma_store_wait_read<0>();\n  }",
        "  }",
    ),
    wgmma("staging swizzle", "unit ^ (row & 7)", "unit ^ (row & 3)"),
    wgmma(
        "stmatrix lane map",
        "warp * 16 + lane % 16, unit = j + lane / 16",
        "warp * 16 + lane / 2, unit = j + lane % 2",
    ),
    wgmma("store coordinates", "n0 + slice * 64, m0", "m0, n0 + slice * 64"),
    wgmma("relu dropped", "if (p.relu) {", "if (false) {"),
    ctc(
        "no barrier between frames",
        "    __syncthreads();\n  }\n  if (threadIdx",
        "  }\n  if (threadIdx",
    ),
    ctc(
        "shares overwritten before all have read them",
        "    __syncthreads();  // `share` has been read\n",
        "",
    ),
    ctc("one row for both frames", "p.scratch(static_cast<int>(1 - t % 2))", "now"),
    ctc("a repeated label is skipped", "target[s / 2] != target[s / 2 - 1]", "true"),
    ctc(
        "labels that occur twice",
        "for (int64_t k = i; k >= 0; k = following[k]) sum",
        "int64_t k = i; sum",
    ),
    ctc("repeats written as well", "      if (repeats[i]) continue;\n", ""),
]


def asm(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"asm: {name}", f"csrc/cuda/{file}", old, new, "ptx")


ASM_MUTANTS = [
    asm("mma: a1 and a2 exchanged", "ptx.cuh", '"r"(a[1]), "r"(a[2])', '"r"(a[2]), "r"(a[1])'),
    asm("mma: b0 and b1 exchanged", "ptx.cuh", '"r"(b[0]), "r"(b[1])', '"r"(b[1]), "r"(b[0])'),
    asm("mma: one sum not accumulated", "ptx.cuh", '"{%0,%1,%2,%3};"', '"{%0,%1,%2,%0};"'),
    asm("pack: halves exchanged", "ptx.cuh", '"f"(high), "f"(low)', '"f"(low), "f"(high)'),
    asm("cp.async: tail not cut", "ptx.cuh", '"r"(source_bytes)', '"r"(16)'),
    asm(
        "cp.async: waits for too few",
        "ptx.cuh",
        '%0;" ::"n"(kPending)',
        '%0;" ::"n"(kPending + 1)',
    ),
    asm(
        "ldmatrix: transposed by mistake",
        "ptx.cuh",
        "m8n8.x4.shared.b16 {%0",
        "m8n8.x4.trans.shared.b16 {%0",
    ),
    asm(
        "ldmatrix: outputs permuted", "ptx.cuh", '"=r"(r[1]), "=r"(r[2])', '"=r"(r[2]), "=r"(r[1])'
    ),
    asm(
        "tma load: coordinates exchanged",
        "hopper.cuh",
        '"r"(bar), "r"(x), "r"(y)',
        '"r"(bar), "r"(y), "r"(x)',
    ),
    asm(
        "tma store: coordinates exchanged",
        "hopper.cuh",
        '"r"(src), "r"(x), "r"(y)',
        '"r"(src), "r"(y), "r"(x)',
    ),
    asm("mbarrier: parity inverted", "hopper.cuh", '"r"(parity)', '"r"(parity ^ 1)'),
    asm("mbarrier: bytes", "hopper.cuh", '"r"(bytes)', '"r"(bytes - 16)'),
    asm("named barrier: thread count", "hopper.cuh", '"r"(threads)', '"r"(threads + 32)'),
    asm(
        "stmatrix: registers permuted", "hopper.cuh", '"r"(r[0]), "r"(r[1])', '"r"(r[1]), "r"(r[0])'
    ),
    asm("wgmma: descriptors exchanged", "hopper.cuh", '"l"(a), "l"(b)', '"l"(b), "l"(a)'),
    asm("wgmma: sums permuted", "hopper.cuh", '"+f"(d[1]), "+f"(d[2])', '"+f"(d[2]), "+f"(d[1])'),
    asm(
        "wgmma: waits for too few",
        "hopper.cuh",
        'wgmma.wait_group.sync.aligned %0;" ::"n"(kPending)',
        'wgmma.wait_group.sync.aligned %0;" ::"n"(kPending + 1)',
    ),
    asm(
        "wgmma: predicate inverted",
        "hopper.cuh",
        "setp.ne.b32 p, %130, 0;",
        "setp.eq.b32 p, %130, 0;",
    ),
]


def run(command: list[str], timeout: int, env: dict | None = None) -> tuple[int, str]:
    try:
        p = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        return 124, "timeout"
    return p.returncode, p.stdout + p.stderr


def build_emulator(folder: Path) -> list[str]:
    """Objects that every mutant links: the emulator and the test runner, never instrumented."""
    objects = []
    sources = [ROOT / "tests/cuda/emu" / f"{n}.cpp" for n in ("scheduler", "memory", "matrix")]
    for source in [*sources, ROOT / "tests/cpp/main.cpp"]:
        target = folder / f"{source.stem}.o"
        command = [
            "g++",
            *FLAGS,
            "-O2",
            "-fno-tree-loop-distribute-patterns",
            *includes(ROOT),
            "-c",
            str(source),
            "-o",
            str(target),
        ]
        rc, text = run(command, 300)
        if rc:
            sys.exit(text)
        objects.append(str(target))
    return objects


def includes(tree: Path) -> list[str]:
    """The changed tree first, the rest from the repository."""
    folders = ("csrc", "tests/cuda", "tests/cpp")
    return [f"-I{t / f}" for t in dict.fromkeys((tree, ROOT)) for f in folders]


def check_asm(mutant: Mutant, folder: Path, objects: list[str]) -> tuple[str | None, str]:
    tree = folder / f"m{id(mutant)}"
    target = tree / mutant.file
    target.parent.mkdir(parents=True)
    text = (ROOT / mutant.file).read_text()
    if mutant.old not in text:
        return "STALE", "the text to replace is not in the file"
    target.write_text(text.replace(mutant.old, mutant.new))
    try:
        rc, text = ptx.check(tree, objects, tree)
    except SystemExit as e:
        return "BUILD", str(e)[:300]
    except subprocess.TimeoutExpired:
        return "plain", "timeout"
    return ("plain", text.splitlines()[0][:110]) if rc else (None, "")


def check(mutant: Mutant | None, program: str, folder: Path, objects: list[str], modes: list[str]):
    """(how it was caught or None, first line of the complaint)."""
    tree = folder / f"m{id(mutant)}"
    tree.mkdir(parents=True, exist_ok=True)
    if mutant:
        text = (ROOT / mutant.file).read_text()
        if mutant.old not in text:
            return "STALE", "the text to replace is not in the file"
        target = tree / mutant.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(mutant.old, mutant.new))
    source = ROOT / "tests/cuda" / program
    for mode in modes:
        binary = tree / f"{Path(program).stem}_{mode}"
        command = ["g++", *FLAGS, *MODES[mode], *includes(tree), str(source), *objects]
        rc, text = run([*command, "-o", str(binary)], 300)
        if rc:
            return "BUILD", text[:300]
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        if mode != "plain":
            env["TERCEL_EMU_QUICK"] = "1"
        rc, text = run([str(binary)], 300, env)  # sanitizers on a busy machine
        if rc:
            lines = [
                x for x in text.splitlines() if "emulator:" in x or "WARNING" in x or " is " in x
            ]
            return mode, (lines or text.splitlines() or [""])[0][:110]
    return None, ""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--asm", action="store_true", help="bugs in the inline asm (needs nvcc)")
    parser.add_argument("--no-sanitizers", action="store_true")
    options = parser.parse_args()
    modes = ["plain"] if options.no_sanitizers else list(MODES)
    if options.asm and not shutil.which("nvcc"):
        print("mutate --asm: skipped, no nvcc")
        return 0
    chosen = [m for m in (ASM_MUTANTS if options.asm else MUTANTS) if options.only in m.name][
        :: options.every
    ]
    caught, bad = 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = ptx.build_test(folder) if options.asm else build_emulator(folder)
        for program in sorted({m.program for m in chosen}):
            if options.asm:
                rc, text = ptx.check(folder, objects)
                how = "plain" if rc else None
            else:
                how, text = check(None, program, folder, objects, modes)
            if how:
                print(f"the unchanged {program} fails ({how}): {text}")
                return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            if options.asm:
                results = pool.map(lambda m: check_asm(m, folder, objects), chosen)
            else:
                results = pool.map(lambda m: check(m, m.program, folder, objects, modes), chosen)
            for mutant, (how, text) in zip(chosen, results, strict=True):
                good = how in MODES
                caught += good
                if not good:
                    bad.append(mutant.name)
                print(
                    f"{'caught ' + how if good else how or 'MISSED':13} {mutant.name:48} {text}",
                    flush=True,
                )
    print(
        f"{caught} of {len(chosen)} mutants caught" + (f"; missed: {', '.join(bad)}" if bad else "")
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
