"""A fit as one self-contained HTML page, made from its folder alone."""

from gammasky.engine.infer.report.fit_folder import FitFolder, Posterior, read_fit, read_fit_posterior
from gammasky.engine.infer.report.page import report_page, write_report

__all__ = ["FitFolder", "Posterior", "read_fit", "read_fit_posterior", "report_page", "write_report"]
