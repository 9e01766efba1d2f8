"""The command line: the composition root of every process.

    headrace WORDS ──> root (errors, help) ──> one small module a command, loaded when it is asked for
                                               └──> process (signals, logs, waiting for the server)
    demo, up ──> crew (one child a process, restarted) ──> the same commands

A module of a command's name holds it as `command`; what it needs beyond click it imports when it runs.
"""

from __future__ import annotations

import click

from headrace.cli.root import Root

SECTIONS = {
    "Start here": {
        "demo": "Run everything on a server of its own, with real training and traffic.",
        "up": "Run the same processes against REDIS_URL, for traffic of your own.",
        "gallery": "Run programs that show scalable learning at work, live.",
        "status": "Show depths, workers, models and the server on one screen.",
    },
    "Events": {
        "watch": "Run any program as a live run: metrics from its output, load, how it ended.",
        "publish": "Publish JSON lines, or the rows of a CSV table, at a rate.",
        "tail": "Follow channels as lines of text or JSON.",
        "predict": "Have rows scored and print the results.",
        "audit": "Recount the logs: what was published, scored, lost, doubled.",
        "dead": "List dead letters; requeue or discard them.",
    },
    "Models": {
        "models": "List, train, promote and roll back model versions.",
    },
    "Processes": {
        "scorer": "Score prediction requests.",
        "aggregator": "Fold events into statistics and publish the frame.",
        "dashboard": "Serve the live page.",
        "gateway": "Serve the HTTP interface.",
        "traffic": "Send the demo's trainings and requests.",
        "server": "Run the embedded server in the foreground.",
    },
    "Operations": {
        "stress": "Send requests at a rate, find the knee, and say what limits.",
        "doctor": "Examine the server and this machine, and say what to do.",
        "acl": "Print users of the server by role, with the rights that each needs.",
    },
}

main = Root(
    SECTIONS,
    name="headrace",
    help="Redis event pipeline for machine learning: exactly-once results and a live dashboard.",
    epilog="`headrace COMMAND --help` explains a command. Settings come from the environment: REDIS_URL, "
    "HEADRACE_PREFIX, HEADRACE_MODELS and the others of headrace.settings.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(package_name="headrace", message="%(prog)s %(version)s")(main)

__all__ = ["main"]
