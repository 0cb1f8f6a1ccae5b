"""Containers of modules and parameters."""

from __future__ import annotations

import copy

import pytest

import tercel
from tercel import nn


def test_sequential():
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    assert len(s) == 3 and s[-1] is s[2] and len(s[:2]) == 2
    s.append(nn.Tanh()).insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in s] == ["Linear", "Sigmoid", "ReLU", "Linear", "Tanh"]
    del s[1]
    assert list(s._modules) == ["0", "1", "2", "3"]
    assert isinstance(s.pop(-1), nn.Tanh) and len(s) == 3
    assert len(s + nn.Sequential(nn.ReLU())) == 4 and len(s * 2) == 6
    s[1] = nn.Identity()
    assert isinstance(s[1], nn.Identity)
    named = nn.Sequential({"a": nn.Linear(2, 2), "b": nn.ReLU()})
    assert named.a is named[0] and [n for n, _ in named.named_parameters()] == [
        "a.weight",
        "a.bias",
    ]
    with pytest.raises(IndexError):
        s[9]
    with pytest.raises(TypeError):
        nn.Sequential(3)
    with pytest.raises(ValueError):
        s + [nn.ReLU()]


def test_module_list_and_dict():
    ml = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    ml.append(nn.ReLU()).extend([nn.Tanh()])
    ml.insert(0, nn.Identity())
    assert len(ml) == 6 and isinstance(ml[0], nn.Identity) and len(ml[1:3]) == 2
    del ml[0]
    assert isinstance(ml[0], nn.Linear) and ml[1] in ml
    assert isinstance(ml.pop(-1), nn.Tanh)
    with pytest.raises(IndexError):
        ml[10]
    with pytest.raises(NotImplementedError):
        ml(1)
    md = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    md["c"] = nn.Tanh()
    assert list(md) == ["a", "b", "c"] and "a" in md and len(md) == 3
    assert isinstance(md.pop("c"), nn.Tanh) and [k for k, _ in md.items()] == ["a", "b"]
    with pytest.raises(TypeError):
        md.update(3)
    with pytest.raises(ValueError):
        md.update([("a", nn.ReLU(), 1)])


def test_parameter_list_and_dict():
    pl = nn.ParameterList([tercel.zeros(2), nn.Parameter(tercel.ones(3))])
    assert len(pl) == 2 and isinstance(pl[0], nn.Parameter) and len(list(pl.parameters())) == 2
    pl.append(tercel.ones(1))
    assert list(pl.state_dict()) == ["0", "1", "2"]
    pl[0] = nn.Parameter(tercel.ones(5))
    assert pl[0].shape == (5,) and [p.numel() for p in pl] == [5, 3, 1]
    pd = nn.ParameterDict({"w": tercel.zeros(2)})
    assert "(w): Parameter containing: [tercel.FloatTensor of size 2]" in repr(pd)
    pd["v"] = tercel.ones(1)
    assert list(pd.keys()) == ["w", "v"] and len(list(pd.parameters())) == 2
    assert pd.pop("w").shape == (2,) and "w" not in pd
    with pytest.raises(KeyError):
        pd["w"]
    with pytest.raises(RuntimeError):
        pl(1)
    twin = copy.deepcopy(pl)
    assert len(twin) == 3 and twin[0] is not pl[0]
