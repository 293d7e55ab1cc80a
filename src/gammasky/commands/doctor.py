"""`gammasky doctor`: whether a fit can run here, and what to do if it cannot."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Show versions, devices, threads, data and caches; exit with 0 if a fit can run on the CPU, else 1."""
    from gammasky.doctor import examine, fit_can_run

    findings = examine()
    runs = fit_can_run(findings)
    if as_json:
        checks = [
            {"name": found.name, "status": found.status, "value": found.value, "remedy": found.advice}
            for found in findings
        ]
        click.echo(json.dumps({"fit_can_run": runs, "checks": checks}, indent=2))
    else:
        for found in findings:
            text = f"{found.value}; {found.advice}" if found.advice else found.value
            click.echo(f"{found.status:<8} {found.name:<18} {text}")
        click.echo("a fit can run on the CPU" if runs else "a fit cannot run: see the lines marked 'missing'")
    context.exit(0 if runs else 1)
