#!/usr/bin/env python3
"""What PyTorch makes of four networks: outputs, gradients and ten optimiser steps of each.

    tests/parity/record.py            writes goldens.json beside this file
    tests/parity/record.py --check    compares goldens.json with this PyTorch; 77 = none is installed

parity_test.cpp compares Muster with goldens.json. Parameters and data are the same hash of their
place on both sides, so that the file holds results alone: of each tensor its norm, its sum and 24
elements.
"""

import json
import math
import os
import sys

STEPS = 10


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    from torch.nn import functional
except ImportError as error:
    # Debian's PyTorch is Debian's python3's, which need not be the one in PATH.
    system = "/usr/bin/python3"
    if os.path.exists(system) and not os.path.samefile(sys.executable, system):
        os.execv(system, [system, *sys.argv])
    skip(f"PyTorch cannot be imported ({error}); install it to compare with it")


def uniform(stream, count):
    """[0, 1) from (stream, index)."""
    numbers = []
    for i in range(count):
        bits = (i * 2654435761 + stream * 40503 + 12345) & 0xffffffff
        for _ in range(2):
            bits = ((bits ^ (bits >> 16)) * 0x45d9f3b) & 0xffffffff
        numbers.append((bits ^ (bits >> 16)) / 4294967296.0)
    return numbers


def parameter(stream, name, shape):
    count = math.prod(shape)
    signed = [2 * u - 1 for u in uniform(stream, count)]
    if len(shape) > 1:
        scale = math.sqrt(3 * shape[0] / count)
        values = [scale * s for s in signed]
    else:
        values = [(1 if name.endswith("weight") else 0) + 0.1 * s for s in signed]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32).reshape(shape)


def data(stream, shape, scale=1.0):
    values = [scale * (2 * u - 1) for u in uniform(1000 + stream, math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32).reshape(shape)


def indices(stream, count, below):
    return torch.tensor([int(u * below) for u in uniform(2000 + stream, count)])


def summary(tensor):
    flat = tensor.detach().reshape(-1).to(torch.float64)
    some = min(24, flat.numel())
    return {"norm": flat.norm().item(), "sum": flat.sum().item(),
            "elements": [flat[j * (flat.numel() // some)].item() for j in range(some)]}


def mean_square(y, target):
    return ((y - target) ** 2).mean()


def mlp(p):
    x = torch.tanh(data(0, [5, 10]) @ p["layers.0.weight"].T + p["layers.0.bias"])
    x = torch.tanh(x @ p["layers.1.weight"].T + p["layers.1.bias"])
    y = x @ p["layers.2.weight"].T + p["layers.2.bias"]
    return y, mean_square(y, data(1, [5, 3]))


def nature_cnn(p):
    pixels = torch.tensor([float(int(u * 256)) for u in uniform(1000, 2 * 84 * 84 * 4)])
    x = pixels.reshape(2, 84, 84, 4).permute(0, 3, 1, 2) / 255
    for i, stride in enumerate([4, 2, 1]):
        name = f"torso.conv.{i}"
        x = functional.relu(functional.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], stride))
    x = x.permute(0, 2, 3, 1).reshape(2, -1)  # Muster's images end with the channels.
    x = functional.relu(functional.linear(x, p["torso.hidden.weight"], p["torso.hidden.bias"]))
    y = functional.linear(x, p["head.weight"], p["head.bias"])
    return y, mean_square(y, data(1, [2, 6]))


LENGTHS, VOCABULARY = [11, 7], 61


def per_sequence(x, attend):
    parts = x.split(LENGTHS)
    return torch.cat([attend(part) for part in parts])


def heads_of(x, heads):
    return x.reshape(x.shape[0], heads, -1).transpose(0, 1)


def attention(q, k, v):
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    out = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
    return out.transpose(0, 1).reshape(q.shape[1], -1)


def token_loss(hidden, weight):
    logits = hidden @ weight.T
    return logits, functional.cross_entropy(logits, indices(1, sum(LENGTHS), VOCABULARY))


def gpt2(p):
    def norm(x, name):
        return functional.layer_norm(x, [32], p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)

    def linear(x, name):
        return functional.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def attend(x):
        q, k, v = (heads_of(part, 4) for part in x.split(32, dim=1))
        return attention(q, k, v)

    tokens = indices(0, sum(LENGTHS), VOCABULARY)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][positions]
    block = "transformer.h.0"
    qkv = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
    x = x + linear(per_sequence(qkv, attend), f"{block}.attn.c_proj")
    inner = functional.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"),
                            approximate="tanh")
    x = x + linear(inner, f"{block}.mlp.c_proj")
    return token_loss(norm(x, "transformer.ln_f"), p["transformer.wte.weight"])


def llama(p):
    def norm(x, name):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * p[name]

    def turned(x):
        frequencies = 10000.0 ** (-torch.arange(0, 8, 2) / 8)
        angles = torch.arange(x.shape[1])[:, None] * frequencies
        a, b = x[..., :4], x[..., 4:]
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()],
                         dim=-1)

    def attend(x):
        q, k, v = x.split([32, 16, 16], dim=1)
        q, k, v = turned(heads_of(q, 4)), turned(heads_of(k, 2)), heads_of(v, 2)
        return attention(q, k.repeat_interleave(2, 0), v.repeat_interleave(2, 0))

    x = p["model.embed_tokens.weight"][indices(0, sum(LENGTHS), VOCABULARY)]
    block = "model.layers.0"
    qkv = norm(x, f"{block}.input_layernorm.weight") @ p[f"{block}.self_attn.qkv_proj.weight"].T
    x = x + per_sequence(qkv, attend) @ p[f"{block}.self_attn.o_proj.weight"].T
    y = norm(x, f"{block}.post_attention_layernorm.weight")
    gate, up = (y @ p[f"{block}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
    x = x + (functional.silu(gate) * up) @ p[f"{block}.mlp.down_proj.weight"].T
    return token_loss(norm(x, "model.norm.weight"), p["lm_head.weight"])


def linear_shapes(name, inputs, outputs):
    return [(f"{name}.weight", [outputs, inputs]), (f"{name}.bias", [outputs])]


def norm_shapes(name, width):
    return [(f"{name}.weight", [width]), (f"{name}.bias", [width])]


def groups(p, decay):
    matrices = [t for t in p.values() if t.dim() > 1]
    return [{"params": matrices, "weight_decay": decay},
            {"params": [t for t in p.values() if t.dim() == 1], "weight_decay": 0.0}]


BLOCK = "transformer.h.0"
LAYER = "model.layers.0"
CASES = {
    "mlp": (mlp,
            linear_shapes("layers.0", 10, 16) + linear_shapes("layers.1", 16, 8) +
            linear_shapes("layers.2", 8, 3),
            lambda p: torch.optim.SGD(groups(p, 0.01), lr=0.05, momentum=0.9, nesterov=True), 0),
    "nature_cnn": (nature_cnn,
                   [("torso.conv.0.weight", [32, 4, 8, 8]), ("torso.conv.0.bias", [32]),
                    ("torso.conv.1.weight", [64, 32, 4, 4]), ("torso.conv.1.bias", [64]),
                    ("torso.conv.2.weight", [64, 64, 3, 3]), ("torso.conv.2.bias", [64])] +
                   linear_shapes("torso.hidden", 3136, 24) + linear_shapes("head", 24, 6),
                   lambda p: torch.optim.RMSprop(p.values(), lr=1e-4, alpha=0.99, eps=1e-3), 0),
    "gpt2": (gpt2,
             [("transformer.wte.weight", [VOCABULARY, 32]), ("transformer.wpe.weight", [24, 32])] +
             norm_shapes(f"{BLOCK}.ln_1", 32) + linear_shapes(f"{BLOCK}.attn.c_attn", 32, 96) +
             linear_shapes(f"{BLOCK}.attn.c_proj", 32, 32) + norm_shapes(f"{BLOCK}.ln_2", 32) +
             linear_shapes(f"{BLOCK}.mlp.c_fc", 32, 128) +
             linear_shapes(f"{BLOCK}.mlp.c_proj", 128, 32) + norm_shapes("transformer.ln_f", 32),
             lambda p: torch.optim.AdamW(groups(p, 0.1), lr=1e-3, eps=1e-4), 0.5),
    "llama": (llama,
              [("model.embed_tokens.weight", [VOCABULARY, 32]),
               (f"{LAYER}.input_layernorm.weight", [32]),
               (f"{LAYER}.self_attn.qkv_proj.weight", [64, 32]),
               (f"{LAYER}.self_attn.o_proj.weight", [32, 32]),
               (f"{LAYER}.post_attention_layernorm.weight", [32]),
               (f"{LAYER}.mlp.gate_proj.weight", [48, 32]),
               (f"{LAYER}.mlp.up_proj.weight", [48, 32]),
               (f"{LAYER}.mlp.down_proj.weight", [32, 48]), ("model.norm.weight", [32]),
               ("lm_head.weight", [VOCABULARY, 32])],
              lambda p: torch.optim.Adam(p.values(), lr=1e-3, eps=1e-4), 0),
}


def run(network, shapes, make_optimizer, clip):
    p = {name: parameter(stream, name, shape).requires_grad_()
         for stream, (name, shape) in enumerate(shapes)}
    optimizer = make_optimizer(p)
    result = {"losses": []}
    for step in range(STEPS):
        optimizer.zero_grad()
        output, loss = network(p)
        loss.backward()
        result["losses"].append(loss.item())
        if step == 0:
            result["output"] = summary(output)
            result["gradients"] = {name: summary(t.grad) for name, t in p.items()}
        if clip:
            torch.nn.utils.clip_grad_norm_(p.values(), clip)
        optimizer.step()
    result["after"] = {name: summary(t) for name, t in p.items()}
    return result


def differences(ours, theirs, path, found, size=0.0):
    if isinstance(ours, dict):
        for key in sorted(set(ours) | set(theirs)):
            differences(ours[key], theirs[key], f"{path}.{key}", found, theirs.get("norm", 0.0))
        return
    ours, theirs = ([x] if isinstance(x, float) else x for x in (ours, theirs))
    limit = 1e-5 + 1e-4 * max(abs(x) for x in theirs) + 1e-5 * size
    if any(abs(a - b) > limit for a, b in zip(ours, theirs)):
        found.append(f"{path}: {ours} instead of {theirs}")


def main():
    torch.set_num_threads(1)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "goldens.json")
    fresh = {name: run(*case) for name, case in CASES.items()}
    if sys.argv[1:] == ["--check"]:
        with open(path, encoding="utf-8") as file:
            recorded = json.load(file)
        found = []
        differences(recorded["cases"], fresh, "", found)
        print(f"PyTorch {torch.__version__}; recorded with {recorded['torch']}: "
              f"{len(found)} differences")
        for line in found[:20]:
            print(line[:400])
        sys.exit(1 if found else 0)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"torch": torch.__version__, "cases": fresh}, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
