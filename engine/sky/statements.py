"""What a file says of itself (units, frame, energies) against what the manifest says of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.manifest import CountsMap, ExposureMap, MapFile, TemplateMap

EXPOSURE_UNIT = "cm2 s"
KEYWORDS = {  # of HEALPix tables: the setting of the manifest with the same meaning, and the values that are in use
    "COORDSYS": ("frame", {
        "galactic": ("G", "GAL", "GALACTIC"),
        "equatorial": ("C", "CEL", "CELESTIAL", "EQU", "EQUATORIAL", "ICRS", "FK5"),
    }),
    "ORDERING": ("ordering", {"ring": ("RING",), "nested": ("NESTED", "NEST")}),
}  # fmt: skip
ENERGY_TOLERANCE = 1e-3  # relative: files hold energies in single precision


def unit_factor(entry: MapFile, text: str | None, label: str) -> float:
    """Find the factor that brings the values of a file, whose unit is `text`, to the unit that maps are held in.

    Exposures are brought to cm^2 s. Counts, masks and templates, which are known up to a factor, stay as they are.

    Raises:
        InputError: a unit that contradicts the manifest, or that is not one of an exposure.
    """
    if isinstance(entry, ExposureMap):
        return _exposure_factor(entry, text, label)
    unit = _unit(text)
    if isinstance(entry, CountsMap | TemplateMap) and unit is not None:
        kind = _kind(unit)
        if kind not in ((entry.unit,) if isinstance(entry, CountsMap) else (entry.unit, "other")):
            raise contradiction(label, f"its unit is '{text}'", f"unit is '{entry.unit}'")
    return 1.0


def require_counts(text: str, label: str) -> None:
    """Refuse a unit that is not one of counts.

    Raises:
        InputError: such a unit.
    """
    unit = _unit(text)
    if unit is not None and _kind(unit) != "counts":
        raise InputError(f"{label}: its unit is '{text}'; expected counts")


def said(entry: MapFile, header: Any, keyword: str, label: str) -> str:
    """The frame or the ordering of a HEALPix table, from the keyword in its header or else from the manifest.

    Raises:
        InputError: neither says it, they contradict each other, or the value of the keyword is not known.
    """
    return stated(header, keyword, getattr(entry, KEYWORDS[keyword][0]), label)


def stated(header: Any, keyword: str, declared: str | None, label: str, rule: str | None = None) -> str:
    """The meaning of a keyword of a HEALPix table, or where the header has none what is `declared`, or the `rule`.

    Raises:
        InputError: nothing says it, header and declaration contradict each other, or the value is not known.
    """
    setting, meanings = KEYWORDS[keyword]
    value = str(header.get(keyword, "")).strip()
    found = next((meaning for meaning, values in meanings.items() if value.upper() in values), None)
    choices = [f'{setting} = "{meaning}"' for meaning in meanings]
    if value and found is None:
        known = ", ".join(values[0] for values in meanings.values())
        raise InputError(f"{label}: {keyword} is '{value}'; expected one of {known}")
    if found and declared and found != declared:
        raise contradiction(label, f"{keyword} is '{value}'", f"{setting} is '{declared}'")
    if not (found or declared or rule):
        raise InputError(f"{label}: no keyword {keyword} in the header; give this file {' or '.join(choices)}")
    return str(found or declared or rule)


def check_energies(hdus: Any, columns: Sequence[int], n_columns: int, edges_gev: Sequence[float], label: str) -> None:
    """Compare the energies in a file (extensions EBOUNDS and ENERGIES) with those of the manifest.

    Args:
        hdus: the extensions of the file.
        columns: numbers of the columns that were chosen, one for each energy bin (or one for all).
        n_columns: number of columns with values in the table.
        edges_gev (E + 1,) [GeV]: edges of the energy bins of the manifest.
        label: how errors name the file.

    Raises:
        InputError: other energies, or a column of them that is missing or no energy.
    """
    edges = np.asarray(edges_gev, dtype=np.float64)
    low, high = (edges[:-1], edges[1:]) if len(columns) == len(edges) - 1 else (edges[:1], edges[-1:])
    for hdu in (hdu for hdu in hdus if getattr(hdu, "columns", None) is not None):
        if hdu.name == "EBOUNDS":
            first, last = (column_in(hdu, name, "GeV", label, unsaid="keV") for name in ("E_MIN", "E_MAX"))
            rows = np.asarray(columns) if len(first) == n_columns else None
            first, last = (first[:1], last[-1:]) if rows is None else (first[rows], last[rows])
            matches = np.allclose([first, last], [low, high], rtol=ENERGY_TOLERANCE, atol=0.0)
        elif hdu.name == "ENERGIES" and hdu.header.get("NAXIS2") == n_columns:
            first = last = column_in(hdu, hdu.columns.names[0], "GeV", label, unsaid="MeV")[np.asarray(columns)]
            matches = bool(np.all((first >= low * (1 - ENERGY_TOLERANCE)) & (last <= high * (1 + ENERGY_TOLERANCE))))
        else:
            continue
        if not matches:
            found = ", ".join(f"{a:g} to {b:g}" if a != b else f"{a:g}" for a, b in zip(first, last, strict=True))
            expected = ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
            raise contradiction(label, f"{hdu.name} says {found} GeV", f"energy_edges_gev says {expected} GeV")


def column_in(hdu: Any, name: str, unit: str, label: str, *, unsaid: str | None = None) -> np.ndarray:
    """A column of a FITS table as float64, in `unit`, whatever unit the file keeps it in.

    Args:
        hdu: the extension with the table.
        name: of the column.
        unit: wanted; "" for a plain number.
        label: how errors name the file.
        unsaid: the unit of a column that names none; by default `unit`.

    Raises:
        InputError: no such column, or its unit cannot be converted.
    """
    from astropy import units

    if name not in hdu.columns.names:
        raise InputError(f"{label}: {hdu.name} has no column {name}; it has {', '.join(hdu.columns.names)}")
    text = (hdu.columns[name].unit or "").strip()
    found, wanted = _unit(text or (unit if unsaid is None else unsaid)), units.Unit(unit)
    if found is None and not text:
        found = wanted
    if found is None or not found.is_equivalent(wanted):
        expected = f"'{unit}', or one that it can be converted to" if unit else "none: it is a plain number"
        raise InputError(f"{label}: column {name} of {hdu.name} has the unit '{text}'; expected {expected}")
    return np.asarray(hdu.data[name], dtype=np.float64) * found.to(wanted)


def _exposure_factor(entry: ExposureMap, text: str | None, label: str) -> float:
    """From the unit of the file, or else of the manifest, to cm^2 s."""
    return factor_to(EXPOSURE_UNIT, "exposure", text, entry.unit, label)


def factor_to(wanted: str, what: str, text: str | None, declared: str | None, label: str) -> float:
    """Find the factor from the unit `text` of a file, or else the `declared` one, or else `wanted`, to `wanted`.

    Photons are plain numbers here.

    Raises:
        InputError: units that contradict each other, or that are not those of `what`.
    """
    from astropy import units

    in_file, said = (_plain(_unit(unit)) for unit in (text, declared))
    if in_file is not None and said is not None and in_file != said:
        raise contradiction(label, f"its unit is '{text}'", f"unit is '{declared}'")
    unit = in_file or said or (None if (text or "").strip() else units.Unit(wanted))
    if unit is None or not unit.is_equivalent(units.Unit(wanted)):
        example = " or 'm2 s'" if wanted == EXPOSURE_UNIT else ""
        raise InputError(f"{label}: '{text or declared}' is no unit of {what}; expected such as '{wanted}'{example}")
    return float(unit.to(wanted))


def _plain(unit: Any) -> Any:
    """A unit without photons and counts, which are numbers."""
    from astropy import units

    for number in (units.ph, units.ct):
        power = 0 if unit is None else dict(zip(unit.bases, unit.powers, strict=True)).get(number, 0)
        unit = unit / number**power if power else unit
    return unit


def _unit(text: str | None) -> Any:
    """The unit that a text names, or None where it names none that astropy knows."""
    from astropy import units

    aliases = {"counts": units.ct, "cts": units.ct, "photons": units.ph}
    with units.add_enabled_aliases(aliases), warnings.catch_warnings():
        warnings.simplefilter("ignore", units.UnitsWarning)
        try:
            return units.Unit(str(text).strip()) if (text or "").strip() else None
        except ValueError:
            return None


def _kind(unit: Any) -> str:
    """`intensity` for what is per area, `counts` for counts, photons and plain numbers, `other` for the rest."""
    if any(base.physical_type == "length" and power < 0 for base, power in zip(unit.bases, unit.powers, strict=True)):
        return "intensity"
    return "counts" if not unit.bases or {"ct", "ph"} & {str(base) for base in unit.bases} else "other"


def contradiction(label: str, of_file: str, of_manifest: str) -> InputError:
    return InputError(f"{label}: {of_file}, but in the manifest {of_manifest}; correct the one that is wrong")
