"""A driver of a campaign, as a program: folder, log, members, what each does, seconds, inline, lanes or ray, new or
resume."""

from __future__ import annotations

import sys

import campaign_tasks

from gammasky.distributed.campaign import run_campaign
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.runners.ray import RayRunner

if __name__ == "__main__":
    folder, log, count, deed, seconds, where, how = sys.argv[1:]
    runners = {"inline": InlineRunner, "lanes": lambda: InlineRunner(2), "ray": lambda: RayRunner("local", workers=2)}
    run_campaign(
        folder,
        campaign_tasks.Beside(log) if where == "lanes" else campaign_tasks.Square(log),
        campaign_tasks.timed(int(count), deed, float(seconds)),
        Resources(),
        runners[where](),
        manifest={},
        resume=how == "resume",
        quiet=where == "ray",
    )
