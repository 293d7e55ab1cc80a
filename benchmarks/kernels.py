"""What each CUDA kernel takes on a multiprocessor, by nvcc: `python benchmarks/kernels.py`; see README.md beside it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gammasky.engine.kernels import gpu

ARCHITECTURES = ("sm_80", "sm_90")
_ENTRY = re.compile(
    r"Compiling entry function '(\w+)' for '\w+'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers(?:, used \d+ barriers)?(?:, \d+ bytes cumulative stack size)?"
    r"(?:, (\d+) bytes smem)?",
    re.DOTALL,
)


class Usage(NamedTuple):
    """What a kernel takes for itself: registers of a thread, shared memory of a block [B], and of a thread bytes of its
    stack frame, spilled and read back."""

    kernel: str
    registers: int
    shared: int
    stack: int
    stores: int
    loads: int


@cache
def compiled(family: str, architecture: str) -> list[Usage]:
    """The kernels of a family, compiled with warnings as errors.

    Raises:
        subprocess.CalledProcessError: nvcc refused the source.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = [*gpu.OPTIONS, f"-arch={architecture}", "-Werror", "all-warnings", "-Xptxas", "-v"]
        source = Path(folder) / f"{family}.cu"
        source.write_text(gpu.source(family), encoding="utf-8")
        command = ["nvcc", "-cubin", *options, "-o", str(Path(folder) / "kernels.cubin"), str(source)]
        words = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = [(name, *(int(number or 0) for number in numbers)) for name, *numbers in _ENTRY.findall(words)]
    return sorted(
        Usage(name, registers, shared, stack, stores, loads) for name, stack, stores, loads, registers, shared in found
    )


def table() -> str:
    """One row for each kernel and architecture."""
    lines = ["| kernel | architecture | registers | shared [B] | stack [B] | spilled [B] |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for family in gpu.FAMILIES:
        for architecture in ARCHITECTURES:
            for use in compiled(family, architecture):
                numbers = f"{use.registers} | {use.shared} | {use.stack} | {use.stores + use.loads}"
                lines.append(f"| `{use.kernel}` | {architecture} | {numbers} |")
    return "\n".join(lines)


def compiler() -> str:
    """nvcc's release."""
    words = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    (release,) = re.findall(r"release ([\d.]+)", words)
    return str(release)


if __name__ == "__main__":
    print(f"nvcc {compiler()}\n\n{table()}")
