"""A GPT of some 10,000 weights, trained for seconds."""

import math

import numpy as np


def train(n_checkpoints: int, seed: int, optimizer: str, *, per_checkpoint: int = 4):  # type: ignore[no-untyped-def]
    """Weights at every checkpoint, (step, weight), from the first weights on.

    One block with two heads on sequences of a noisy pattern; warm-up, then cosine decay to zero.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed % 2**31)
    torch.set_num_threads(1)
    width, n_tokens, length = 24, 16, 16
    token, place = nn.Embedding(n_tokens, width), nn.Embedding(length, width)
    block = nn.TransformerEncoderLayer(
        width, 2, 4 * width, dropout=0.0, batch_first=True, norm_first=True
    )
    model = nn.ModuleDict(
        {"token": token, "place": place, "block": block, "norm": nn.LayerNorm(width),
         "head": nn.Linear(width, n_tokens, bias=False)}
    )  # fmt: skip
    weights = list(model.parameters())
    rule = (
        torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.1)
        if optimizer == "adamw"
        else torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    )
    n = (n_checkpoints - 1) * per_checkpoint
    warm = max(n // 20, 1)

    def rate(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / n)))

    schedule = torch.optim.lr_scheduler.LambdaLR(rule, rate)
    mask = nn.Transformer.generate_square_subsequent_mask(length)
    rows = [_flat(weights)]
    for step in range(1, n + 1):
        start = torch.randint(n_tokens, (16, 1))
        sequence = (start + torch.arange(length + 1) * (1 + start % 3)) % n_tokens
        noisy = torch.where(
            torch.rand(sequence.shape) < 0.1, torch.randint_like(sequence, n_tokens), sequence
        )
        hidden = token(noisy[:, :-1]) + place(torch.arange(length))
        logits = model["head"](model["norm"](block(hidden, src_mask=mask, is_causal=True)))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), noisy[:, 1:].flatten())
        rule.zero_grad()
        loss.backward()
        rule.step()
        schedule.step()
        if step % per_checkpoint == 0:
            rows.append(_flat(weights))
    return np.stack(rows)


def _flat(weights):  # type: ignore[no-untyped-def]
    return np.concatenate([each.detach().numpy().ravel().copy() for each in weights])
