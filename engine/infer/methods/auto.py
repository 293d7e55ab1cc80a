"""Variational inference, checked by chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.agreement import Disagreement
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict

LARGEST_DISAGREEMENT = 0.3  # between log Z by the guide's weights and log Z with the chains [nat]


class Auto(Method):
    """svi and nuts, with the settings of both."""

    name = "auto"
    summary = "svi checked by nuts, for results to publish"
    work = "gammasky.engine.infer.stages.auto:AutoStage"
    options: ClassVar[Mapping[str, Option]] = {**Svi.options, **Nuts.options}

    @staticmethod
    def resolve(options: Mapping[str, Any]) -> dict[str, Any]:
        if not GUIDES[options["guide"]].has_density:
            known = ", ".join(name for name, guide in GUIDES.items() if guide.has_density)
            raise InputError(
                f"guide: method auto needs one whose density is known anywhere ({known}), got '{options['guide']}'"
            )
        return Svi.resolve(options)

    @classmethod
    def cited(cls, options: Mapping[str, Any]) -> tuple[Citation, ...]:
        from gammasky.engine.infer import evidence, importance

        return (*Svi.cited(options), *importance.CITATIONS, *Nuts.cited(options), *evidence.CITATIONS)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        return Svi.gradients(options) + Nuts.gradients(options)

    @staticmethod
    def verdict(
        different: Sequence[Disagreement],
        weights: Importance,
        status: str,
        chains: Verdict,
        *,
        n_numbers: int,
        can_judge: bool,
        log_z: float,
    ) -> Verdict:
        """Judge what guide and chains say together: the weighted guide where they agree, the chains where they do not.

        Args:
            different: numbers for which they disagree, the worst first.
            weights: of the guide's draws, which are drawn again by them where both agree.
            status: of the optimiser, "converged" or "stopped".
            chains: their own verdict.
            n_numbers: how many numbers are quoted, and were compared.
            can_judge: whether the chains have mixed well enough to find a fault.
            log_z: with the mass that only the chains have seen.
        """
        from gammasky.engine.infer.verdict import STOPPED, Verdict, judged, unless_finite, weight_doubts, weight_numbers

        apart = []
        if abs(log_z - weights.log_z) > LARGEST_DISAGREEMENT:
            apart = [
                f"log Z by the guide's weights is {weights.log_z:.2f}, and {log_z:.2f} with the chains: more than "
                f"{LARGEST_DISAGREEMENT} apart"
            ]
        if different:
            alone = f"svi alone (k-hat {weights.k_hat:.2f}) misleads in {len(different)} numbers; {different[0]}"
            verdict = Verdict(chains.level, (*chains.reasons, alone, *apart), chains.remedy)
            return unless_finite(verdict, {"log Z with the chains": log_z})
        trouble, doubts = weight_doubts(weights, {})
        if not can_judge:
            doubts += ["the chains have not mixed well enough to judge the guide", *chains.reasons]
        doubts += apart
        if status == "stopped" and (trouble or doubts):
            doubts.append(STOPPED)
        fine = f"guide and chains agree in all {n_numbers} numbers that are quoted"
        numbers = weight_numbers(weights) | {"log Z with the chains": log_z}
        return judged(numbers, trouble, doubts, fine, chains.remedy or {"method": "nuts"})
