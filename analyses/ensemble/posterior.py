"""One member of a campaign as a posterior file, for `gammasky compare` and everything that reads ArviZ."""

from __future__ import annotations

from pathlib import Path

from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.distributed.campaign import load_member, read_manifest
from gammasky.distributed.record import Finished
from gammasky.engine.errors import unknown_name
from gammasky.engine.infer.posterior import write_posterior


def export_member(folder: Path | str, name: str, out: Path | str) -> Path:
    """Write the posterior of the finished member `name` of the campaign in `folder` as NetCDF to `out`.

    Campaigns keep draws as plain arrays, which are written forty times faster; the model is built anew for this.

    Returns:
        the file.

    Raises:
        InputError: no campaign or member there, a member that is not done, data that are not those of the fit.
        OSError: what the file system refused; an older file is then still whole.
    """
    manifest = read_manifest(folder)
    keys = {member.name: member.key for member in manifest.members}
    if name not in keys:
        raise unknown_name("member", name, keys)
    return write_member(load_member(folder, keys[name]), Expansion(EnsembleFile(**manifest.campaign)).task, name, out)


def write_member(found: Finished, task: EnsembleTask, name: str, out: Path | str) -> Path:
    """Write the posterior of a finished fit as NetCDF to `out`, its model built anew; returns the file.

    Raises:
        InputError: data that are not those of the fit.
        OSError: what the file system refused; an older file is then still whole.
    """
    model = task.model(found.spec)
    write_posterior(
        out, model, found.arrays["z"],
        log_likelihood=found.arrays["log_likelihood"],
        log_guide=found.arrays.get("log_guide"),
        attributes={**found.spec["fit"], **found.row, "member": name},
        chains=int(found.arrays["chains"]),
    )  # fmt: skip
    return Path(out)
