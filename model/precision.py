"""How fast this processor computes in bf16, the smaller of the two precisions."""

from typing import Literal

Bf16Support = Literal["tiles", "vectors", "none", "unknown"]

BENCHMARK = "python backtests/benchmark.py --contests training-bf16"
SLOW_BF16 = (
    "this processor has no instructions for bf16, which torch emulates then, slower than fp32"
)


def bf16_support() -> Bf16Support:
    """Return with what the processor multiplies bf16, as torch knows it from 2.11 on.

    With tiles (AMX) bf16 is fast. Vector instructions alone (avx512_bf16) decide nothing: with them
    a training step took 1.44 times as long as in fp32 on a Xeon, .6 times on an EPYC of Zen 5.
    """
    import torch  # here, as a command that prints its help has no use for it

    instructions: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if not instructions:
        return "unknown"
    if instructions.get("amx_bf16"):
        return "tiles"
    # Each family of processors has a name of its own for them.
    some = any("bf16" in name and present for name, present in instructions.items())
    return "vectors" if some else "none"


def precision_hint(precision: str) -> str:
    """Return a line for commands on how fast a precision is on this processor, "" for none."""
    support = bf16_support()
    if precision == "bf16" and support == "none":
        return f"{SLOW_BF16}: --precision fp32 trains faster"
    if precision == "bf16" and support == "vectors":
        return (
            "this processor has bf16 but no AMX: whether --precision fp32 trains faster depends; "
            f"{BENCHMARK} says"
        )
    if precision == "fp32" and support == "tiles":
        return (
            "this processor multiplies bf16 in hardware: --precision bf16 trains about twice as "
            f"fast; {BENCHMARK} says by how much"
        )
    return ""
