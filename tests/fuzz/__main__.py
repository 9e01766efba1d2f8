"""`python -m tests.fuzz`: a coverage-guided fuzzer (atheris, on libFuzzer) on everything that reads foreign bytes.

A finding is a file in the folder of findings: `python -m tests.fuzz FILE` plays it again.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import click

LONGEST_BYTES = 8_192
SLOWEST_S = 5
MEMORY_MB = 1_024


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option("--seconds", default=300, show_default=True, help="How long to look.")
@click.option(
    "--corpus",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".fuzz/corpus"),
    show_default=True,
    help="Folder of what reached new code, to go on from.",
)
@click.option(
    "--findings",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".fuzz/findings"),
    show_default=True,
    help="Folder for what was found.",
)
def main(files: tuple[Path, ...], seconds: int, corpus: Path, findings: Path) -> None:
    """Look for bytes that end a reader, take too long or too much memory, or are read wrongly.

    With FILE, play only what is in it.
    """
    if files:
        from tests.fuzz.reading import read

        for file in files:
            read(file.read_bytes())
            click.echo(f"{file}: nothing is wrong with it")
        return
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        raise click.ClickException("the fuzzer is not installed; `make fuzz` does it") from None
    with atheris.instrument_imports(include=["headrace", "tests.fuzz.reading"]):
        from tests.fuzz.reading import read
        from tests.fuzz.seeds import write
    findings.mkdir(parents=True, exist_ok=True)

    def watched(payload: bytes) -> None:
        try:
            read(payload)
        except Exception:
            found = findings / f"wrong-{hashlib.sha256(payload).hexdigest()[:16]}"
            found.write_bytes(payload)
            click.echo(f"written to {found}", err=True)
            raise

    click.echo(f"{write(corpus)} seeds, {seconds} s", err=True)
    words = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_BYTES}",
        f"-timeout={SLOWEST_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *words, str(corpus)], watched)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
