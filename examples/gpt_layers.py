"""Layers: train a tiny GPT on the text of the licence; norms, river and spectra of every layer.

    python examples/gpt_layers.py --out gpt

One attention block, written out below. Twenty seconds.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import trajscope

LENGTH, WIDTH, HEADS, BATCH, RATE, EVERY = 32, 32, 2, 16, 3e-3, 5
TEXT = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")


class Gpt(nn.Module):
    """Letters to the next letter: embeddings, one block of attention and perceptron, a head."""

    def __init__(self, n_letters: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(n_letters, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, n_letters, bias=False)

    def forward(self, letters: Tensor) -> Tensor:
        """Logits, (batch, place, letter)."""
        x = self.letters(letters) + self.places.weight
        own, later = self.before(x), nn.Transformer.generate_square_subsequent_mask(LENGTH)
        x = x + self.attention(own, own, own, attn_mask=later, need_weights=False)[0]
        logits: Tensor = self.head(self.after(x + self.perceptron(x)))
        return logits


def train(folder: Path, steps: int) -> float:
    """Write a checkpoint every few steps; the last loss, in nats a letter."""
    torch.manual_seed(0)
    alphabet = sorted(set(TEXT))
    tokens = torch.tensor([alphabet.index(letter) for letter in TEXT])
    model = Gpt(len(alphabet))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for step in range(steps + 1):
        if step % EVERY == 0:
            trajscope.save_checkpoint(folder, model, step=step)
        starts = torch.randint(len(tokens) - LENGTH, (BATCH, 1))
        pieces = tokens[starts + torch.arange(LENGTH + 1)]
        loss = nn.functional.cross_entropy(
            model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def table(results: xr.DataTree) -> str:
    """Of every layer: its norm, how far it turned, its river, the stable rank of its matrix."""
    found, spectra = results["observables"].to_dataset(), results["spectra"].to_dataset()
    place = found.sizes["window_length"] // 2
    walk = float(found["river_share_brownian"][place])
    lines = [
        f"Share of the variance of averages over {int(found['window_length'][place])} checkpoints "
        f"along the river: {walk:.0%} for a random walk.",
        f"{'layer':<20}{'norm, last / first':>18}{'angle to first':>16}{'river':>8}"
        f"{'stable rank':>16}",
    ]
    for name in found["group"].values.tolist():
        own = found.sel(group=name)
        norm, cosine = own["norm"].values, float(own["cosine_to_first"][-1])
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        river = float(own["river_share"][place])
        ranks = ""
        matrices = [each for each in spectra["matrix"].values.tolist() if each.startswith(name)]
        if matrices:
            first, last = spectra["stable_rank"].sel(matrix=matrices[0]).values[[0, -1]]
            ranks = f"{first:.1f} to {last:.1f}"
        lines.append(
            f"{name:<20}{norm[-1] / norm[0]:>18.2f}{angle:>15.0f}°{river:>8.0%}{ranks:>16}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Train, analyze, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--steps", type=int, default=1000, help="of the optimizer")
    options = parser.parse_args(arguments)
    print(
        f"loss after {options.steps} steps: {train(options.out, options.steps):.2f} nats a letter"
    )
    results = trajscope.analyze(options.out, spectra="0%,100%", n_surrogates=199)
    print(table(results))
    print(results["verdict"].attrs["sentence"])


if __name__ == "__main__":
    main()
