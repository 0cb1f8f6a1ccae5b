"""The `tercel` command: `tercel demo`, `tercel info`, `tercel bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tercel",
        description="A compact deep-learning framework. `tercel COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train a small residual network on handwritten digits",
        description="Trains a pre-activation residual network, prints loss and accuracy per epoch, saves weights "
        "(safetensors) and a learning curve (PNG), loads the weights into a fresh model and evaluates it. Without "
        "--data it uses the 1,797 digits that come with the package and takes less than a minute.",
    )
    demo.add_argument(
        "--data", type=Path, metavar="DIR",
        help="folder with MNIST or Fashion-MNIST as IDX files (train-images-idx3-ubyte[.gz], ...)",
    )  # fmt: skip
    demo.add_argument(
        "--epochs", type=int, default=0, metavar="N", help="default: 20, or 4 with --data"
    )
    demo.add_argument(
        "--batch", type=int, default=0, metavar="N", help="default: 64, or 128 with --data"
    )
    demo.add_argument(
        "--lr", type=float, default=0.0, help="peak learning rate of the one-cycle schedule"
    )
    demo.add_argument("--seed", type=int, default=0, help="same seed, same bits (default 0)")
    demo.add_argument(
        "--threads", type=int, metavar="N", help="results do not depend on it (default: all)"
    )
    demo.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")
    demo.add_argument(
        "--out", type=Path, default=Path("tercel-demo"), metavar="DIR", help="where to write"
    )
    demo.add_argument("--no-progress", action="store_true", help="no progress bar")

    commands.add_parser(
        "info",
        help="version, processor, ISA levels, threads, allocator",
        description="What this build and this machine offer; paste it into a bug report.",
    )

    bench = commands.add_parser(
        "bench",
        help="measure peaks of this machine and the speed of common operations",
        description="Measures the peaks of this machine (fused multiply-adds, bandwidth) and common operations "
        "against them. The full benchmark with PyTorch beside it is bench/run.py in the repository.",
    )
    bench.add_argument("--threads", type=int, metavar="N", help="default: all")
    bench.add_argument("--isa", default="auto", help="force an ISA level: generic, avx2, avx512")
    bench.add_argument("--seconds", type=float, default=0.3, help="time per row")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        import tercel

        print(f"tercel {tercel.__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return {"demo": _demo, "info": _info, "bench": _bench}[args.command](args)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        print(f"tercel {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ntercel {args.command}: interrupted", file=sys.stderr)
        return 130


def _demo(args: argparse.Namespace) -> int:
    import tercel
    from tercel import demo

    if tercel.device(args.device).type == "cuda" and not tercel.cuda.is_available():
        reason = tercel.cuda.unavailable_reason()
        print(f"tercel demo: --device {args.device}: {reason}", file=sys.stderr)
        return 2
    if args.epochs < 0 or args.batch < 0 or args.lr < 0:
        raise ValueError("--epochs, --batch and --lr must not be negative")
    if args.threads is not None:
        tercel.set_num_threads(args.threads)
    settings = demo.Settings(
        data=args.data, epochs=args.epochs, batch=args.batch, lr=args.lr, seed=args.seed, out=args.out,
        progress=not args.no_progress, device=args.device,
    )  # fmt: skip
    demo.run(settings)
    return 0


def _info(args: argparse.Namespace) -> int:
    from tercel import collect_env

    print(collect_env.report())
    return 0


def _bench(args: argparse.Namespace) -> int:
    import tercel
    from tercel import _bench

    tercel.set_isa(args.isa)
    if args.threads is not None:
        tercel.set_num_threads(args.threads)
    _bench.run(args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
