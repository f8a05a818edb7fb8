"""Times one row in PyTorch or onnxruntime: the other side of `cargo xtask bench --against-pytorch`. See README.md."""

import argparse
import json
import time

from common import EAGER, ONNXRUNTIME, measure, restart_with


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", required=True, help="as `rankle bench` or the table calls it")
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--variant", default=EAGER, help="which of the row's: see README.md")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a step is repeated")
    parser.add_argument("--weights", default="target/bench/weights", help="folder with what `rankle bench --save-weights` wrote")
    return parser.parse_args()


def main():
    args = arguments()
    # What stands for ordinary code gets no tuning of the allocator.
    restart_with(args.threads, tuned_malloc=args.variant not in (EAGER, "research"))
    if args.variant == ONNXRUNTIME:
        import onnx_rows

        step, results_of = onnx_rows.forward(args)
        timing, answer = measure(step, args.seconds)
        return tell(args, timing, results_of(answer), onnx_rows.version(), ONNXRUNTIME)
    import torch

    torch.set_num_threads(args.threads)
    import attacks
    import gallery
    import operations
    import steps

    if args.row in attacks.ROWS:
        cpu, start = time.process_time(), time.perf_counter()
        seconds, results = attacks.ROWS[args.row](args)
        share = (time.process_time() - cpu) / (time.perf_counter() - start)
        timing = {"median_ms": 1e3 * seconds, "minimum_ms": 1e3 * seconds, "repeats": 1, "cpu_share": share}
    else:
        prepare = gallery.ROWS.get(args.row) or operations.ROWS.get(args.row) or steps.row(args.row)
        if prepare is None:
            raise SystemExit(f"unknown row {args.row}")
        step, results_of = prepare(args)
        timing, answer = measure(step, args.seconds)
        results = results_of(answer)
    tell(args, timing, results, torch.__version__, torch.backends.cpu.get_cpu_capability())


def tell(args, timing, results, version, instruction_set):
    timing["cpu_share"] = min(1.0, timing["cpu_share"] / args.threads)
    timing = {"name": args.row, "images": args.images, "threads": args.threads} | timing | {"results": results}
    print(json.dumps({"version": version, "instruction_set": instruction_set, "timings": [timing]}))


if __name__ == "__main__":
    main()
