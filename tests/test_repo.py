"""What the repository promises about itself: sizes, layering, no weak symbols, no machine paths, a fresh stub."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (".cpp", ".h", ".cu", ".cuh", ".inc", ".py", ".cmake", ".sh")
MAX_LINES = 800


def files() -> list[Path]:
    """Files under version control; every source file where there is no git."""
    if shutil.which("git"):
        out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
        if out.returncode == 0 and out.stdout:
            return [ROOT / p for p in out.stdout.split("\0") if p and (ROOT / p).is_file()]
    folders = ("csrc", "python", "tests", "bench", "examples", "docs")
    return [
        p
        for f in folders
        for p in (ROOT / f).rglob("*")
        if p.is_file() and "__pycache__" not in str(p)
    ]


def sources() -> list[Path]:
    return [p for p in files() if p.suffix in SOURCES]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short():
    long = {name(p): n for p in sources() if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines: {long}"


LAYERS = {  # folder -> folders it must not include from
    "csrc/core": ("ops/", "python/", "simd/", "plan/"),
    "csrc/simd": ("ops/", "python/", "plan/"),
    "csrc/ops": ("python/",),
}


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#include "([^"]+)"', path.read_text(), re.M)


def test_layering():
    """Bindings (*_py.cpp, and headers that only they include) may use python/; the rest may not."""
    code = [p for p in sources() if name(p).startswith("csrc/")]
    users: dict[str, set[str]] = {}
    for path in code:
        for included in includes(path):
            users.setdefault(f"csrc/{included}", set()).add(name(path))
    wrong = []
    for folder, forbidden in LAYERS.items():
        for path in code:
            callers = users.get(name(path), {name(path)})
            if not name(path).startswith(folder + "/") or all(
                c.endswith("_py.cpp") for c in callers
            ):
                continue
            wrong += [
                f"{name(path)} includes {i}" for i in includes(path) if i.startswith(forbidden)
            ]
    assert not wrong, wrong


def test_isa_files_include_little():
    """Files compiled per ISA level must not pull in code that could be shared with other files."""
    bad = re.compile(
        r"^\s*#include <(vector|string|map|functional|memory|algorithm|iostream|sstream|optional)>",
        re.M,
    )
    wrong = [
        name(p)
        for p in sources()
        if re.search(r"_(cpu|ukr_\w+)\.cpp$", p.name) and bad.search(p.read_text())
    ]
    assert not wrong, wrong


def test_no_weak_symbols_in_isa_objects():
    """A weak symbol of an AVX-512 object may replace the same function of the whole program."""
    build = Path(os.environ.get("TERCEL_BUILD_DIR", ROOT / "build"))
    objects = [o for d in build.glob("CMakeFiles/*kernels_*.dir") for o in d.rglob("*.o")]
    if not objects or not shutil.which("nm"):
        pytest.skip("no build folder (TERCEL_BUILD_DIR) or no nm")
    weak = []
    for o in objects:
        text = subprocess.run(["nm", str(o)], capture_output=True, text=True, check=True).stdout
        weak += [f"{o.name}: {line}" for line in text.splitlines() if re.search(r" [WVu] ", line)]
    assert not weak, weak[:20]


def test_no_machine_paths():
    pattern = re.compile(r"/(work|home|root|tmp|Users)/\w+")
    wrong = [
        f"{name(p)}: {m.group(0)}"
        for p in files()
        if p.suffix in (*SOURCES, ".md", ".toml", ".txt", ".yaml", ".json", ".pyi", "")
        and p.name != "test_repo.py"
        and (m := pattern.search(p.read_text(errors="replace")))
    ]
    assert not wrong, wrong


def test_stub_is_fresh():
    """python/tercel/_core.pyi says what the extension offers: python docs/generate.py writes it."""
    script = ROOT / "docs" / "generate.py"
    scope: dict = {"__name__": "generate", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), scope)
    stub = ROOT / "python" / "tercel" / "_core.pyi"
    assert stub.read_text() == scope["stub"](), "stale: run python docs/generate.py"


def test_map_of_the_source_names_every_folder():
    text = (ROOT / "csrc" / "README.md").read_text()
    folders = {p.parts[i] for f in files() if (p := f.relative_to(ROOT)).parts[0] == "csrc"
               for i in range(1, len(p.parts) - 1)}  # fmt: skip
    missing = [f for f in sorted(folders) if f"`{f}/`" not in text and f"`ops/{f}/`" not in text]
    assert folders and not missing, missing
    parts = [p.name for p in (ROOT / "csrc" / "simd").glob("vmath_*.h")]
    assert parts and all(f"`{name}`" in text for name in parts), parts
