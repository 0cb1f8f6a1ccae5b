"""PTX -> C++ on the emulator: runs nvcc's own output, inline asm included, without a GPU.

    python tests/cuda/ptx.py [--keep FOLDER]

Compiles tests/cuda/device_code/*.cu to PTX, translates the kernels named in KERNELS into C++ (every register is a
64-bit local, every label a C label) and runs tests/cuda/ptx/test_ptx.cpp against them. An opcode without a translation
is an error, so the coverage grows with the kernels. Without nvcc it says so and exits 0.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "tests/cuda/device_code"
SOURCES = {"sm80.cu": "80", "sm90a.cu": "90a"}
KERNELS = {  # name of the C++ function -> pattern of the mangled kernel
    "ptx_mma_bf16": r"gemm_mma_kernelINS_4bf16ES2_Li64E",
    "ptx_mma_f16": r"gemm_mma_kernelINS_3f16E",
    "ptx_mma_tf32": r"gemm_mma_kernelIff",
    "ptx_mma_s8": r"gemm_mma_kernelIai",
    "ptx_wgmma": r"gemm_wgmma_kernel",
}

TYPES = {f"{k}{n}": f"{'u' if k == 'u' else ''}int{n}_t" for k in "us" for n in (8, 16, 32, 64)}
TYPES |= {f"b{n}": f"uint{n}_t" for n in (8, 16, 32, 64)}
TYPES |= {"f32": "float", "f64": "double", "pred": "bool"}
SPECIAL = {f"%{p}.{d}": f"emu::me->{f}.{d}" for p, f in
           (("tid", "tid"), ("ctaid", "bid"), ("ntid", "block"), ("nctaid", "grid")) for d in "xyz"}  # fmt: skip
INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^"}
ARITHMETIC = {
    *INFIX,
    *"mul mad fma div rem not neg abs rcp ex2 copysign min max shl shr setp selp prmt".split(),
}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Unknown(Exception):
    pass


def split(text: str) -> list[str]:
    """Operands: commas outside braces and brackets."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c in "{[") - (c in "}]")
        if c == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    return [*parts, part.strip()] if part.strip() else parts


class Translator:
    def __init__(self, name: str, params: dict[str, int]):
        self.name, self.params = name, params
        self.registers: dict[str, int] = {}  # name -> index in R
        self.shared: dict[str, int] = {}
        self.scope = [0]
        self.scopes = 0
        self.line = 0
        self.sums: list[str] = []  # registers of the last wgmma
        self.out: list[str] = []

    # ---- operands ------------------------------------------------------------------------------------

    def local(self, name: str) -> str:
        scoped = f"{name}_{self.scope[-1]}"
        return f"R[{self.registers[scoped if scoped in self.registers else name]}]"

    def bits(self, o: str, kind: str) -> str:
        """Operand as a C++ value of PTX type `kind`."""
        c = TYPES[kind]
        o = o.strip()
        if o in SPECIAL:
            return f"({c})({SPECIAL[o]})"
        if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}", o):
            return f"from_bits<{c}>(0x{o[2:]}u)"
        if re.fullmatch(r"0[dD][0-9A-Fa-f]{16}", o):
            return f"from_bits<{c}>(0x{o[2:]}ull)"
        if re.fullmatch(r"-?\d+|0x[0-9A-Fa-f]+", o):
            return f"({c})({o}ll)" if len(o) < 20 else f"({c})({o}ull)"
        if o in self.params:
            return f"({c})(uint64_t)(P + {self.params[o]})"
        if o in self.shared:
            return f"({c}){self.shared[o]}"
        if o.startswith("%") or f"{o}_{self.scope[-1]}" in self.registers:
            return f"get<{c}>({self.local(o)})"
        raise Unknown(f"operand {o}")

    def put(self, o: str, kind: str, value: str) -> str:
        return "" if o == "_" else f"put<{TYPES[kind]}>({self.local(o)}, {value});"

    def address(self, o: str) -> str:
        m = re.fullmatch(r"\[\s*(\S+?)\s*(?:\+\s*(-?\d+))?\s*\]", o)
        if not m:
            raise Unknown(f"address {o}")
        base = m.group(1)
        kind = "u64" if base in self.params or base.startswith("%rd") else "u32"
        return f"({self.bits(base, kind)} + ({m.group(2) or 0}))"

    def items(self, o: str) -> list[str]:
        return [x.strip() for x in o.strip()[1:-1].split(",")] if o.startswith("{") else [o]

    def label(self, name: str) -> str:
        scope = 0 if name.startswith("$") else self.scope[-1]
        return f"L{scope}_{name.replace('$', '_')}"

    # ---- statements ----------------------------------------------------------------------------------

    def statement(self, s: str) -> str:
        m = re.match(r"@(!?)(%?\w+)\s+(.*)", s, re.S)
        if m:
            body = self.instruction(m.group(3))
            return f"if ({m.group(1)}{self.bits(m.group(2), 'pred')}) {{ {body} }}"
        return self.instruction(s)

    def instruction(self, s: str) -> str:
        m = re.match(r"(\S+)\s*(.*)", s, re.S)
        op, a = m.group(1), split(m.group(2))
        t = op.split(".")
        kind = t[-1]
        for rule in (self.control, self.memory, self.arithmetic, self.warp, self.hopper):
            text = rule(op, t, kind, a)
            if text is not None:
                return text
        raise Unknown(f"opcode {op}")

    def control(self, op, t, kind, a):
        if t[0] == "bra":
            return f"goto {self.label(a[0])};"
        if t[0] == "ret":
            return "return;"
        if op == "bar.sync":
            count = self.bits(a[1], "u32") if len(a) > 1 else "0"
            return f"emu::barrier({self.bits(a[0], 'u32')}, {count}, {self.line});"
        if t[0] in ("setmaxnreg", "membar"):
            return ";"
        if t[0] == "fence":
            return "emu::proxy_fence();" if "proxy" in t else ";"
        return None

    def memory(self, op, t, kind, a):
        if t[0] not in ("ld", "st"):
            return None
        load = t[0] == "ld"
        values = self.items(a[0] if load else a[1])
        place = self.address(a[1] if load else a[0])
        space = "shared_at" if "shared" in t else "global_at"
        c = TYPES[kind]
        text = f"{{ auto* q = {space}<{c}>({place}, {len(values)}); "
        if load:
            return text + "".join(self.put(v, kind, f"q[{i}]") for i, v in enumerate(values)) + "}"
        return text + "".join(f"q[{i}] = {self.bits(v, kind)};" for i, v in enumerate(values)) + "}"

    def arithmetic(self, op, t, kind, a):
        name = t[0]
        if name == "mov":
            return self.move(kind, a)
        if name == "cvta":
            return self.put(a[0], "u64", self.bits(a[1], "u64"))
        if name == "cvt":
            return self.convert(op, t, a)
        if name not in ARITHMETIC or kind not in TYPES:
            return None
        unsigned = kind.replace("s", "u")  # no overflow traps
        v = (
            [self.bits(x, kind) for x in a[1:]]
            if name not in ("selp", "shl", "shr", "setp")
            else []
        )
        if name in INFIX:
            u = [self.bits(x, unsigned) for x in a[1:]]
            return self.put(a[0], unsigned, f"{u[0]} {INFIX[name]} {u[1]}")
        if name == "mul" and t[1] == "wide":
            wide = kind[0] + str(2 * int(kind[1:]))
            c = TYPES[wide]
            return self.put(a[0], wide, f"({c}){v[0]} * ({c}){v[1]}")
        if name == "mul" and t[1] != "hi":
            u = [self.bits(x, unsigned) for x in a[1:]]
            return self.put(a[0], unsigned, f"{u[0]} * {u[1]}")
        if name == "mad" and t[1] == "lo":
            u = [self.bits(x, unsigned) for x in a[1:]]
            return self.put(a[0], unsigned, f"{u[0]} * {u[1]} + {u[2]}")
        if name == "fma":
            return self.put(a[0], kind, f"std::fma({v[0]}, {v[1]}, {v[2]})")
        if name in ("div", "rem"):
            return self.put(a[0], kind, f"{v[0]} {'/' if name == 'div' else '%'} {v[1]}")
        if name == "not":
            return self.put(a[0], kind, f"{'!' if kind == 'pred' else '~'}{v[0]}")
        unary = {"neg": "-{0}", "abs": "std::abs({0})", "rcp": "1 / {0}", "ex2": "std::exp2({0})"}
        if name in unary:
            return self.put(a[0], kind, unary[name].format(*v))
        if name == "copysign":  # sign of the first operand
            return self.put(a[0], kind, f"std::copysign({v[1]}, {v[0]})")
        if name in ("min", "max"):
            f = f"std::f{name}" if kind[0] == "f" else f"std::{name}<{TYPES[kind]}>"
            return self.put(a[0], kind, f"{f}({v[0]}, {v[1]})")
        if name in ("shl", "shr"):
            direction = "left" if name == "shl" else "right"
            x, n = self.bits(a[1], kind), self.bits(a[2], "u32")
            return self.put(a[0], kind, f"shift_{direction}<{TYPES[kind]}>({x}, {n})")
        if name == "setp":
            compare, negated = t[1], ""
            if kind[0] == "f" and compare.endswith(
                "u"
            ):  # true for NaN: the opposite comparison fails
                opposite = {
                    "ltu": "ge",
                    "leu": "gt",
                    "gtu": "le",
                    "geu": "lt",
                    "equ": "ne",
                    "neu": "eq",
                }
                compare, negated = opposite[compare], "!"
            x, y = self.bits(a[1], kind), self.bits(a[2], kind)
            return self.put(a[0], "pred", f"{negated}({x} {COMPARE[compare]} {y})")
        if name == "selp":
            x, y = self.bits(a[1], kind), self.bits(a[2], kind)
            return self.put(a[0], kind, f"{self.bits(a[3], 'pred')} ? {x} : {y}")
        if name == "prmt":
            return self.put(a[0], kind, f"__byte_perm({v[0]}, {v[1]}, {v[2]})")
        return None

    def move(self, kind, a):
        if a[0].startswith("{"):
            low, high = self.items(a[0])
            half = f"b{int(kind[1:]) // 2}"
            text = f"{{ const uint64_t q = {self.bits(a[1], kind)}; "
            text += (
                self.put(low, half, f"({TYPES[half]})q") if low != "%temp" and low != "_" else ""
            )
            if high != "%temp" and high != "_":
                text += self.put(high, half, f"({TYPES[half]})(q >> {half[1:]})")
            return text + "}"
        if a[1].startswith("{"):
            low, high = self.items(a[1])
            n = int(kind[1:]) // 2
            c = TYPES[kind]
            both = f"({c}){self.bits(low, f'b{n}')} | ({c}){self.bits(high, f'b{n}')} << {n}"
            return self.put(a[0], kind, both)
        return self.put(a[0], kind, self.bits(a[1], kind))

    def convert(self, op, t, a):
        if op in ("cvt.rn.bf16x2.f32", "cvt.rn.f16x2.f32"):
            f = "bf16" if "bf16x2" in op else "f16"
            high, low = self.bits(a[1], "f32"), self.bits(a[2], "f32")
            return self.put(a[0], "b32", f"tercel::cuda::pack_{f}({low}, {high})")
        if op in ("cvt.rn.bf16.f32", "cvt.rn.f16.f32"):
            return self.put(a[0], "b16", f"tercel::{t[-2]}({self.bits(a[1], 'f32')}).bits")
        if op == "cvt.f32.f16":
            return self.put(a[0], "f32", f"half_value({self.bits(a[1], 'b16')})")
        if op == "cvt.rna.tf32.f32":
            return self.put(a[0], "b32", f"tercel::cuda::round_tf32({self.bits(a[1], 'b32')})")
        to, source = t[-2], t[-1]
        x = self.bits(a[1], source)
        if "rni" in t:
            x = f"std::nearbyint({x})"
        if "sat" in t:
            x = f"std::fmin(std::fmax({x}, 0.0f), 1.0f)"
        return self.put(a[0], to, f"({TYPES[to]})({x})")

    def array(self, kind: str, name: str, values: list[str]) -> str:
        return f"{TYPES[kind]} {name}[] = {{{', '.join(self.bits(v, kind) for v in values)}}}; "

    def warp(self, op, t, kind, a):
        if op.startswith("shfl.sync"):
            how = {"bfly": "exchange", "down": "down", "up": "up", "idx": "index"}[t[2]]
            to = a[0].split("|")[0]
            width = f"32 - ({self.bits(a[3], 'u32')} >> 8 & 31)"
            return (
                f"{{ uint32_t q = {self.bits(a[1], 'b32')}; emu::shuffle(emu::Shuffle::{how}, "
                f"{self.bits(a[4], 'b32')}, &q, 4, {self.bits(a[2], 's32')}, {width}, {self.line}); "
                f"{self.put(to, 'b32', 'q')} }}"
            )
        if t[0] == "ldmatrix":
            regs = self.items(a[0])
            trans = "true" if "trans" in t else "false"
            text = f"{{ uint32_t q[4]; emu::ldmatrix(q, {len(regs)}, {trans}, {self.address(a[1])}, {self.line}); "
            return text + "".join(self.put(r, "b32", f"q[{i}]") for i, r in enumerate(regs)) + "}"
        if t[0] == "stmatrix":
            regs = self.items(a[1])
            return (
                f"{{ {self.array('b32', 'q', regs)} emu::stmatrix(q, {len(regs)}, false, "
                f"{self.address(a[0])}, {self.line}); }}"
            )
        if t[0] == "mma":
            shapes = {
                "m16n8k16.bf16": "bf16",
                "m16n8k16.f16": "f16",
                "m16n8k8.tf32": "tf32",
                "m16n8k32.s8": "s8",
            }
            mma = shapes.get(f"{t[3]}.{t[7]}")
            if not mma or t[4:6] != ["row", "col"]:
                return None
            d, x, y, c = (self.items(o) for o in a)
            acc = "s32" if mma == "s8" else "f32"
            text = f"{{ {self.array(acc, 'd', c)} {self.array('b32', 'x', x)} {self.array('b32', 'y', y)} "
            text += f"emu::mma(emu::MmaKind::{mma}, d, x, y, {self.line}); "
            return text + "".join(self.put(r, acc, f"d[{i}]") for i, r in enumerate(d)) + "}"
        if op == "cp.async.cg.shared.global":
            n = self.bits(a[3], "u32") if len(a) > 3 else a[2]
            return f"emu::cp_async({self.address(a[0])}, (const void*){self.address(a[1])}, {a[2]}, {n});"
        if op == "cp.async.commit_group":
            return "emu::cp_async_commit();"
        if op == "cp.async.wait_group":
            return f"emu::cp_async_wait({a[0]});"
        return None

    def tensor_place(self, o: str) -> str:
        m = re.fullmatch(r"\[\s*(\S+)\s*,\s*\{(.*?),(.*?)\}\s*\]", o)
        x, y = (self.bits(m.group(i), "s32") for i in (2, 3))
        return f"(const emu::TensorMap*){self.bits(m.group(1), 'u64')}, {{}}{x}, {y}"

    def hopper(self, op, t, kind, a):
        if op.startswith("mbarrier.init"):
            return f"emu::mbarrier_init({self.address(a[0])}, {self.bits(a[1], 'u32')});"
        if op.startswith("mbarrier.arrive.expect_tx"):
            return f"emu::mbarrier_arrive({self.address(a[1])}, {self.bits(a[2], 'u32')});"
        if op.startswith("mbarrier.arrive"):
            return f"emu::mbarrier_arrive({self.address(a[1])}, 0);"
        if op.startswith("mbarrier.try_wait.parity"):
            wait = (
                f"emu::mbarrier_wait({self.address(a[1])}, {self.bits(a[2], 'u32')}, {self.line});"
            )
            return wait + self.put(a[0], "pred", "true")
        if op.startswith("cp.async.bulk.tensor.2d.shared"):
            place = self.tensor_place(a[1]).format("")
            return f"emu::tma_load({self.address(a[0])}, {place}, {self.address(a[2])});"
        if op.startswith("cp.async.bulk.tensor.2d.global"):
            place = self.tensor_place(a[0]).format(f"{self.address(a[1])}, ")
            return f"emu::tma_store({place});"
        if op == "cp.async.bulk.commit_group":
            return "emu::tma_store_commit();"
        if op.startswith("cp.async.bulk.wait_group"):
            return f"emu::tma_store_wait({a[0]}, true);"
        if op.startswith("wgmma.fence"):
            return f"emu::wgmma_fence({self.line});"
        if op.startswith("wgmma.commit"):
            return f"emu::wgmma_commit({self.line});"
        if op.startswith(
            "wgmma.wait"
        ):  # results may arrive this late: only now do the registers change
            back = "".join(self.put(r, "f32", f"sums[{i}]") for i, r in enumerate(self.sums))
            return f"emu::wgmma_wait({a[0]}, {self.line}); {back} sums_loaded = false;"
        if op.startswith("wgmma.mma_async"):
            self.sums = self.items(a[0])
            m = re.search(r"m64n(\d+)k16\.f32\.(b?f16)", op)
            if not m or a[4:] != ["1", "1", "0", "0"]:
                raise Unknown(op)
            take = "".join(f"sums[{i}] = {self.bits(r, 'f32')};" for i, r in enumerate(self.sums))
            return (
                f"if (!sums_loaded) {{ {take} sums_loaded = true; }} emu::wgmma(emu::MmaKind::{m.group(2)}, sums, "
                f"{m.group(1)}, {self.bits(a[1], 'u64')}, {self.bits(a[2], 'u64')}, {self.bits(a[3], 'pred')}, "
                f"{self.line});"
            )
        return None

    # ---- a kernel ------------------------------------------------------------------------------------

    def declare(self, s: str) -> None:
        m = re.match(r"\.reg\s+\.(\w+)\s+(.*)", s, re.S)
        for r in m.group(2).split(","):
            r = r.strip()
            many = re.match(r"(%\w+)<(\d+)>", r)
            names = [f"{many.group(1)}{i}" for i in range(int(many.group(2)))] if many else [r]
            for n in names:
                key = n if n.startswith("%") else f"{n}_{self.scope[-1]}"
                self.registers[key] = len(self.registers)

    def kernel(self, body: str) -> str:
        i = 0
        while i < len(body):
            self.line += 1
            if body[i].isspace():
                i += 1
            elif body[i] == "{":
                self.scopes += 1
                self.scope.append(self.scopes)
                i += 1
            elif body[i] == "}":
                self.scope.pop()
                i += 1
            elif m := re.match(r"([\w$]+):(?!:)", body[i:]):
                self.out.append(self.label(m.group(1)) + ":;")
                i += m.end()
            else:
                end = body.index(";", i)
                s = body[i:end].strip()
                i = end + 1
                if s.startswith(".reg"):
                    self.declare(s)
                elif m := re.match(r"\.shared\s+\.align\s+\d+\s+\.b8\s+(\w+)\[", s):
                    raise Unknown("static shared memory")
                elif not s.startswith("."):
                    self.out.append(self.statement(s))
        head = (
            f"void {self.name}(const char* P) {{\nuint64_t R[{len(self.registers) + 1}] = {{}};\n"
        )
        head += "(void)P;\nfloat sums[128];\n(void)sums;\nbool sums_loaded = false;\n(void)sums_loaded;\n"
        return head + "\n".join(self.out) + "\n}\n"


def translate(text: str) -> str:
    text = re.sub(r"//[^\n]*", "", text)
    dynamic = re.findall(r"\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+(\w+)\[\]", text)
    parts = []
    for m in re.finditer(r"\.entry\s+(\w+)\((.*?)\)\s*((?:\.\w+[^\n{]*\n)*)\s*\{", text, re.S):
        names = [n for n, p in KERNELS.items() if re.search(p, m.group(1))]
        if not names:
            continue
        depth, i = 1, m.end()
        while depth:
            depth += (text[i] == "{") - (text[i] == "}")
            i += 1
        params, offset = {}, 0
        pattern = r"\.param\s+(?:\.align\s+(\d+)\s+)?\.([a-z]+)(\d+)\s+(\w+)(?:\[(\d+)\])?"
        for p in re.finditer(pattern, m.group(2)):
            size = int(p.group(5) or int(p.group(3)) // 8)
            align = int(p.group(1) or size)
            offset = (offset + align - 1) // align * align
            params[p.group(4)] = offset
            offset += size
        translator = Translator(names[0], params)
        translator.shared = dict.fromkeys(dynamic, 0)
        parts.append(translator.kernel(text[m.end() : i - 1]))
    return '#include "ptx_runtime.h"\n\n' + "\n".join(parts)


def run(*command: str, timeout: int = 900) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]}\n{(done.stdout + done.stderr)[-3000:]}")


def includes(tree: Path) -> list[str]:
    folders = ("csrc", "tests/cuda", "tests/cuda/ptx", "tests/cpp")
    return [f"-I{t / d}" for t in dict.fromkeys((tree, ROOT)) for d in folders]


def build_test(folder: Path) -> list[str]:
    """Objects of the test, its runner and the emulator: they do not depend on the PTX."""
    objects = []
    sources = [ROOT / f"tests/cuda/emu/{n}.cpp" for n in ("scheduler", "memory", "matrix")]
    for source in [*sources, ROOT / "tests/cuda/ptx/test_ptx.cpp", ROOT / "tests/cpp/main.cpp"]:
        target = str(folder / f"{source.stem}.o")
        flags = ["-O1", "-ffp-contract=off", "-fno-tree-loop-distribute-patterns"]
        run("g++", "-std=c++20", "-w", *flags, *includes(ROOT), "-c", str(source), "-o", target)
        objects.append(target)
    return objects


def check(folder: Path, test: list[str], tree: Path = ROOT) -> tuple[int, str]:
    """Compiles the kernels with the headers of `tree` and runs the test; its exit status and output."""
    objects = []
    for source, arch in SOURCES.items():
        ptx, cpp, obj = (folder / f"{source}.{x}" for x in ("ptx", "cpp", "o"))
        flags = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", f"-arch=compute_{arch}"]
        run("nvcc", *flags, "-ptx", *includes(tree), "-o", str(ptx), str(CODE / source))
        try:
            cpp.write_text(translate(ptx.read_text()))
        except Unknown as e:
            return 1, f"{source}: {e}"
        run("g++", "-std=c++20", "-w", "-O0", *includes(ROOT), "-c", str(cpp), "-o", str(obj))
        objects.append(str(obj))
    binary = folder / "test_ptx"
    run("g++", *test, *objects, "-o", str(binary))
    done = subprocess.run([str(binary)], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, help="folder for the generated files")
    options = parser.parse_args()
    if not shutil.which("nvcc"):
        print("ptx: skipped, no nvcc")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        rc, text = check(folder, build_test(folder))
    print(text.strip())
    return rc


if __name__ == "__main__":
    sys.exit(main())
