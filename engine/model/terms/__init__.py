"""Terms of the log-likelihood, one file for each kind."""

from gammasky.engine.model.terms.base import TERMS, AnyTerm, Term, TermKind
from gammasky.engine.model.terms.counts import CountsTerm
from gammasky.engine.model.terms.nptf import NptfTerm
from gammasky.engine.model.terms.nptf_energy import JointNptfTerm
from gammasky.engine.model.terms.poisson import PoissonTerm

__all__ = ["TERMS", "AnyTerm", "CountsTerm", "JointNptfTerm", "NptfTerm", "PoissonTerm", "Term", "TermKind"]
