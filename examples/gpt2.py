"""Language: train a small GPT-2 of transformers on sums in words, and measure its gradient noise.

    python examples/gpt2.py --out gpt2
    trajscope diffusion gpt2 --problem examples/gpt2.py:make_problem --samples 100

The weights start at random and the text is made here: nothing is fetched. Two minutes each.
"""

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import trajscope

LENGTH, BATCH, RATE, EVERY = 32, 16, 0.1, 10
WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
)
LETTERS = " .abcdefghijklmnopqrstuvwxyz"


def make_problem() -> trajscope.Problem:
    """What `--problem` asks for: the model, the training data, the loss."""
    config = GPT2Config(
        vocab_size=len(LETTERS), n_positions=LENGTH, n_embd=48, n_layer=2, n_head=2,
        bos_token_id=None, eos_token_id=None, loss_type="ForCausalLM",
    )  # fmt: skip
    return trajscope.Problem(GPT2LMHeadModel(config), windows(), next_letter_loss)


def next_letter_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss that is minimised, as every causal language model of transformers returns it."""
    loss: Tensor = model(**batch).loss
    return loss


def windows() -> list[dict[str, Tensor]]:
    """Pieces of a text of all sums of two digits in any order: "seven and five is twelve. ..."."""
    sums = [f"{WORDS[a]} and {WORDS[b]} is {WORDS[a + b]}. " for a in range(10) for b in range(10)]
    chance = random.Random(0)
    text = "".join("".join(chance.sample(sums, len(sums))) for _ in range(5))
    tokens = torch.tensor([LETTERS.index(letter) for letter in text])
    pieces = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
    return [{"input_ids": piece, "labels": piece} for piece in pieces]


def main(arguments: list[str] | None = None) -> None:
    """Train by SGD with momentum, with a checkpoint every so many steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--steps", type=int, default=500, help="of the optimizer")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    problem = make_problem()
    model = problem.model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    loader = torch.utils.data.DataLoader(problem.data, BATCH, shuffle=True)
    step = 0
    trajscope.save_checkpoint(options.out, model, step=step)
    while step < options.steps:
        for batch in loader:
            optimizer.zero_grad()
            loss = problem.loss(model, batch)
            loss.backward()
            optimizer.step()
            step += 1
            if step % EVERY == 0:
                trajscope.save_checkpoint(options.out, model, step=step)
            if step == options.steps:
                break
        print(f"step {step}/{options.steps}  loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
