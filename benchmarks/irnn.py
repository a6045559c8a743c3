"""Forward and backward of the four-directional recurrence against a loop over rows in plain torch with autograd.

    python benchmarks/irnn.py [--threads 2] [--repeats 9] [--csv benchmarks/results/irnn.csv]

The loop is what the course's and other CPU ports do: index a row, multiply, add, rectify, stack. Both take turns in
one run; figures are medians, `cpu` is the process's CPU time. Also: one training step of `progressive_spanet` with
either recurrence.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import repix.models.irnn
from repix.models import create_model
from repix.models.irnn import irnn


def loop(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    H, W = x.shape[2:]

    def run(at: Callable[[int], Tensor], order: range, direction: int, dim: int) -> Tensor:
        found = []
        before = None
        for i in order:
            row = at(i)
            if before is not None:
                row = row + weight[direction, :, None] * before
                if bias is not None:
                    row = row + bias[direction, :, None]
            before = torch.relu(row)
            found.append(before)
        return torch.stack(found if order.step == 1 else found[::-1], dim)

    return (
        run(lambda i: x[:, :, i, :], range(H - 1, -1, -1), 0, 2),
        run(lambda i: x[:, :, :, i], range(W), 1, 3),
        run(lambda i: x[:, :, i, :], range(H), 2, 2),
        run(lambda i: x[:, :, :, i], range(W - 1, -1, -1), 3, 3),
    )


def recurrence(function: Callable[..., tuple[Tensor, ...]]) -> Callable[[], None]:
    """Forward and backward at (4, 32, 128, 128)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 32, 128, 128, generator=generator).requires_grad_()
    weight = torch.full((4, 32), 0.2).requires_grad_()
    grads = [torch.randn(x.shape, generator=generator) for _ in range(4)]

    def step() -> None:
        x.grad = weight.grad = None
        torch.autograd.backward(function(x, weight), grads)

    return step


def training_step(function: Callable[..., tuple[Tensor, ...]], *, bf16: bool = False) -> Callable[[], None]:
    """One step of Adam with L1 on two images of 128×128; the course trained in fp32, repix's recipes in bf16."""
    torch.manual_seed(0)
    net: nn.Module = create_model("progressive_spanet")
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    x, gt = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)

    def step() -> None:
        repix.models.irnn.irnn = function
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            pred = net(x)
        (pred.float() - gt).abs().mean().backward()
        optimizer.step()
        repix.models.irnn.irnn = irnn

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = []
    for what, make in (("recurrence", recurrence), ("progressive_spanet step", training_step)):
        steps = {"loop": make(loop), "repix": make(irnn)}
        if make is training_step:
            steps["repix, bf16"] = training_step(irnn, bf16=True)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
        for turn in range(args.repeats + 1):
            for name, step in steps.items():
                wall, cpu = time.perf_counter(), time.process_time()
                step()
                if turn:
                    times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        for name, found in times.items():
            wall, cpu = (median(pair[i] for pair in found) * 1e3 for i in (0, 1))
            rows.append({"what": what, "how": name, "threads": args.threads, "wall_ms": wall, "cpu_ms": cpu})
        slow, *_ = found_rows = rows[-len(times) :]
        for row in found_rows:
            row |= {"wall_ratio": slow["wall_ms"] / row["wall_ms"], "cpu_ratio": slow["cpu_ms"] / row["cpu_ms"]}
            print(
                f"{what:24} {row['how']:12} {row['wall_ms']:8.1f} ms wall (×{row['wall_ratio']:.2f}) "
                f"{row['cpu_ms']:8.1f} ms cpu (×{row['cpu_ratio']:.2f})"
            )
    if args.csv:
        with args.csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: f"{v:.2f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
