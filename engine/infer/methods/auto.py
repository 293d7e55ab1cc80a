"""The emulator, and chains where its own checks fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.agreement import Disagreement
    from gammasky.engine.infer.evidence import Evidence
    from gammasky.engine.infer.verdict import Verdict


class Auto(Method):
    """emulator; and nuts, whose settings it has, if the emulator's verdict is not *reliable*."""

    name = "auto"
    summary = "emulator, then nuts if it is not reliable; for results to publish"
    work = "gammasky.engine.infer.stages.auto:AutoStage"
    options: ClassVar[Mapping[str, Option]] = Nuts.options

    @classmethod
    def cited(cls, options: Mapping[str, Any]) -> tuple[Citation, ...]:
        from gammasky.engine.infer import evidence

        return (*Emulator.cited(options), *Nuts.cited(options), *evidence.CITATIONS)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        """Those of the emulator: chains are the exception."""
        return Emulator.gradients(options)

    @staticmethod
    def verdict(
        chains: Verdict, emulator: str, different: Sequence[Disagreement] | None, log_z: Evidence | None,
        n_numbers: int, seed: int,
    ) -> Verdict:  # fmt: skip
        """Judge the chains, and say why they were needed.

        That log Z is not known makes no draw of theirs wrong: it is told, and not quoted. One that is quoted must be as
        well known as that of the emulator alone, or the fit is a preview; another seed learns another copy, to which
        the bridge may be better.

        Args:
            chains: their own verdict.
            emulator: what was wrong with the emulator.
            different: numbers for which it and the chains disagree, the worst first; None where it has no draws.
            log_z: of the bridge between chains and copy; None where there is no copy.
            n_numbers: how many numbers are quoted, and were compared.
            seed: of the fit.
        """
        from gammasky.engine.infer.verdict import Verdict, evidence_doubts

        level, remedy, doubts = chains.level, chains.remedy, evidence_doubts(log_z.log_z_error) if log_z else []
        told = [*chains.reasons, *doubts]
        if doubts and level == "reliable":
            level, remedy, told = "preview", {"method": "auto", "seed": seed + 1}, [*doubts, *chains.reasons]
        told.append(f"the emulator alone would not do: {emulator}")
        if different:
            told.append(f"chains and emulator disagree in {len(different)} of {n_numbers} numbers; {different[0]}")
        elif different is not None and chains.level != "unreliable":  # chains that have not mixed confirm nothing
            told.append(f"chains and emulator agree in all {n_numbers} numbers that are quoted")
        if log_z is None:
            told.append("log Z is not known: chains and copy do not tell it")
        return Verdict(level, tuple(told), remedy)
