"""Rules about the machine code of the CUDA kernels: registers, no stack, the instructions that are meant.

    python tests/cuda/sass.py [--cubin FILE ...]

Compiles tests/cuda/device_code/*.cu and the families of FAMILIES with nvcc and reads the result with cuobjdump (PyPI: nvidia-cuda-cuobjdump,
nvidia-cuda-nvdisasm). Without nvcc or cuobjdump it says so and exits 0. Compiler warnings about spills, local memory and
ignored setmaxnreg (C7508) are errors.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "tests/cuda/device_code"
TARGETS = {"sm80.cu": "80", "sm90a.cu": "90a"}
# Every kernel of these files, as the build makes it for these architectures: no stack, no local memory, no more
# registers than two blocks of 256 threads can have (128 threads: of the products).
FAMILIES = {
    "reduce/reduce": ("90",),
    "optim/optim": ("90",),
    "softmax/softmax": ("90",),
    "norm/norm": ("90",),
    "sort/sort": ("90",),
    "index/mask": ("90",),
    "loss/ctc": ("90",),
    "loss/loss": ("90",),
    "random/random": ("90",),
    "dropout/dropout": ("90",),
    "matmul/gemm_mma_bf16": ("90", "120"),
    "matmul/gemm_mma_f16": ("90", "120"),
    "matmul/gemm_mma_rest": ("90", "120"),
}
FAMILY_REGISTERS = 128
LOCAL = [r"\bLDL\b", r"\bSTL\b"]
WIDE = [r"LDG\.E\.(CONSTANT\.)?128", r"STG\.E\.128"]


@dataclass
class Rule:
    """About kernels whose mangled name matches; `need` and `ban` are patterns of the disassembly."""

    kernel: str
    registers: int
    need: list[str]
    ban: list[str] = field(default_factory=list)


COPY = r"LDGSTS\.E\.(BYPASS\.)?(LTC128B\.)?128"
RULES = [
    # 128 sums a thread and its fragments: most registers are in use, two blocks share a multiprocessor
    Rule(r"gemm_mma_kernel\w*Li128ELi128ELi64E", 255, [COPY]),
    Rule(r"gemm_mma_kernel\w*Li64ELi64ELi32E", 168, [COPY]),
    Rule(r"gemm_mma_kernel\w*Lb1E", 255, [r"LDSM\.16\.M88\.4"]),  # an operand contiguous along k
    Rule(r"gemm_mma_kernel\w*Lb0E", 255, [r"LDSM\.16\.MT88\.4"]),
    Rule(r"gemm_mma_kernelINS_4bf16E", 255, [r"HMMA\.16816\.F32\.BF16"]),
    Rule(r"gemm_mma_kernelINS_3f16E", 255, [r"HMMA\.16816\.F32\s"]),
    Rule(r"gemm_mma_kernelIff", 255, [r"HMMA\.1688\.F32\.TF32"]),
    Rule(r"gemm_mma_kernelIa", 255, [r"IMMA\.16832\.S8\.S8"]),
    Rule(r"gemm_simt_kernelIfLi8E", 255, [r"\bFFMA\b"], [r"\bHMMA\b"]),
    Rule(r"gemm_simt_kernelIdLi4E", 168, [r"\bDFMA\b"]),
    Rule(r"softmax_(bwd_)?rowsI(NS_4bf16E|f)E", 64, WIDE),
    Rule(r"row_norm_(fwd|bwd)\w*I(NS_4bf16E|f)E", 64, WIDE),
    Rule(r"radix_scatter_kernel", 64, [r"\bVOTE", r"\bPOPC\b"], [r"\bATOMG?\b"]),
    Rule(r"mask_compress_kernel", 64, [r"\bVOTE"], [r"\bATOM"]),
    Rule(r"gemv_kernel", 168, [r"LDG\.E(\.CONSTANT)?\.128", r"SHFL\.BFLY"]),
    Rule(
        r"gemm_wgmma_kernel",
        168,
        [r"HGMMA\.64x256x16", r"UTMALDG\.2D", r"UTMASTG\.2D", r"SYNCS", r"STSM"],
        [r"\bHMMA\b"],
    ),
]


def tool(name: str) -> str | None:
    """On PATH, or in the folder where the PyPI package puts it."""
    packages = Path(sysconfig.get_paths()["purelib"])
    found = sorted(packages.glob(f"nvidia/**/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def output(*command: str) -> str:
    folder = str(Path(command[0]).parent)  # cuobjdump starts nvdisasm
    env = dict(os.environ, PATH=folder + os.pathsep + os.environ.get("PATH", ""))
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr[:500]}")
    return done.stdout + done.stderr


def compile_all(folder: Path) -> tuple[list[Path], list[str]]:
    cubins, complaints = [], []
    sources = [(CODE / name, arch, arch) for name, arch in TARGETS.items()]
    for name, archs in FAMILIES.items():  # Blackwell from its own PTX, the others from that of 8.0
        path = ROOT / f"csrc/ops/{name}.cu"
        sources += [(path, "100" if int(arch) >= 100 else "80", arch) for arch in archs]
    for source, ptx, arch in sources:
        target = folder / f"{source.name}.{arch}.cubin"
        text = output(
            "nvcc", "-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xptxas=-warn-spills,-warn-lmem-usage",
            "-gencode", f"arch=compute_{ptx},code=sm_{arch}", f"-I{ROOT / 'csrc'}", "-cubin",
            "-DTERCEL_DEVICE_LIBRARY=1", "-o", str(target), str(source),
        )  # fmt: skip
        complaints += [x for x in text.splitlines() if re.search(r"spill|[Ll]ocal memory|C7508", x)]
        cubins.append(target)
    return cubins, complaints


def functions(cubin: Path, cuobjdump: str) -> dict[str, str]:
    """Machine code of each kernel by its mangled name."""
    parts = re.split(r"Function : (\S+)\n", output(cuobjdump, "-sass", str(cubin)))
    return dict(zip(parts[1::2], parts[2::2]))


def check(cubin: Path, cuobjdump: str) -> list[str]:
    """Problems of one cubin; prints a line per kernel."""
    problems, seen = [], 0
    usage, code_of = output(cuobjdump, "-res-usage", str(cubin)), functions(cubin, cuobjdump)
    family = cubin.name.split(".")[0] in {f.split("/")[1] for f in FAMILIES}
    for m in re.finditer(r"Function (\S+):\s*\n\s*REG:(\d+) STACK:(\d+)", usage):
        name, registers, stack = m.group(1), int(m.group(2)), int(m.group(3))
        rules = [r for r in RULES if re.search(r.kernel, name)]
        if not rules and not family:
            problems.append(f"{name}: no rule")
            continue
        if not rules:
            rules = [Rule("", FAMILY_REGISTERS, [])]
        seen += 1
        code = code_of[name]
        wrong = [f"stack {stack}"] if stack else []
        for rule in rules:
            if registers > rule.registers:
                wrong.append(f"{registers} registers, at most {rule.registers} expected")
            wrong += [f"no {p}" for p in rule.need if not re.search(p, code)]
            wrong += [f"has {p}" for p in [*rule.ban, *LOCAL] if re.search(p, code)]
        ops = collections.Counter(
            re.findall(r"\b(HMMA|IMMA|HGMMA|LDSM|LDGSTS|LDG|STG|FFMA|DFMA)\b", code)
        )
        print(f"{'FAIL' if wrong else 'ok':5}{registers:4} registers  {name[:70]:70} {dict(ops)}")
        problems += [f"{cubin.name}: {name}: {w}" for w in wrong]
    if not seen:
        problems.append(f"{cubin.name}: no kernels found")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cubin", nargs="*", type=Path, help="check these instead of compiling")
    options = parser.parse_args()
    cuobjdump = tool("cuobjdump")
    if not cuobjdump or (not options.cubin and not shutil.which("nvcc")):
        print("sass: skipped, " + ("no nvcc" if cuobjdump else "no cuobjdump"))
        return 0
    with tempfile.TemporaryDirectory() as name:
        cubins, problems = (options.cubin, []) if options.cubin else compile_all(Path(name))
        for cubin in cubins:
            problems += check(cubin, cuobjdump)
    print("\n".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
