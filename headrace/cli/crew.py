"""A crew: the processes of headrace as children of one, each its own command, started again when it dies.

    demo, up ──> Crew ──> python -m headrace scorer, ...     output ──> `scorer-1 | line`

Rules: a child has a session of its own, so Ctrl-C reaches only the crew, which ends its members in the order in which
events flow. A child is given the secrets that it needs, and no others. Whatever happens to the crew, its members notice
(`orphan.py`) and end: nothing is left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from headrace.access import PASSWORDS, TOKEN, WEBHOOK
from headrace.cli.orphan import PARENT_FD
from headrace.cli.process import DRAIN_S, within
from headrace.retry import Backoff

RESTART = Backoff(1_000, 30_000)
STEADY_S = 30.0
"""A member that lived so long begins its delays anew."""
GRACE_S = DRAIN_S + 2.0
"""A member that has not ended after so long is killed."""
LAST_WORDS_S = 0.5
"""How long the output of an ended member is still read: its own children may hold the pipe open."""
CHUNK_BYTES = 65_536
LINE_BYTES = 8_192


SECRETS: Final = {"dashboard": (*PASSWORDS.values(),), "gateway": (TOKEN,), "aggregator": (WEBHOOK,)}
"""Which command needs which secrets; what holds no secret can give none away."""


@dataclass(slots=True)
class Member:
    """One process: `words` follow `headrace`. One that is `once` is not started again, however it ended."""

    name: str
    words: Sequence[str]
    once: bool = False
    status: int | None = None
    """Exit status of the last end; negative for a signal."""
    starts: int = 0
    child: asyncio.subprocess.Process | None = None
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    tending: asyncio.Task[None] | None = None


class Crew:
    """Members that live as long as this context manager. `environ` is theirs; `tell` takes lines of text."""

    def __init__(self, environ: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.members: dict[str, Member] = {}
        self._environ = dict(environ)
        self._tell = tell
        self._pipe = os.pipe()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.end([list(self.members)])
        finally:
            for descriptor in self._pipe:
                os.close(descriptor)

    def start(self, name: str, *words: str, once: bool = False) -> Member:
        """Start a member, and start it again whenever it dies."""
        member = self.members[name] = Member(name, words, once)
        member.tending = asyncio.create_task(self._tend(member), name=f"tend {name}")
        return member

    async def finished(self, member: Member) -> int | None:
        """Wait until a member that is `once` has ended: its exit status."""
        if member.tending:
            await member.tending
        return member.status

    async def end(self, waves: Sequence[Sequence[str]]) -> None:
        """End members by SIGTERM, wave after wave; who needs longer than `GRACE_S` is killed."""
        for wave in waves:
            await asyncio.gather(*(self._dismiss(self.members[name]) for name in wave if name in self.members))

    async def _dismiss(self, member: Member) -> None:
        member.leaving.set()
        _send(member, signal.SIGTERM)
        if member.tending is None:
            return
        done, _ = await asyncio.wait({member.tending}, timeout=GRACE_S)
        if not done:
            self._tell(f"{member.name} did not end within {GRACE_S:g} s and is killed")
            _send(member, signal.SIGKILL)
            await asyncio.wait({member.tending})

    async def _tend(self, member: Member) -> None:
        failures = 0
        while not member.leaving.is_set():
            began_s = time.monotonic()
            member.status = await self._live(member)
            if member.leaving.is_set() or member.once:
                return
            failures = 1 if time.monotonic() - began_s > STEADY_S else failures + 1
            delay_s = RESTART.delay_ms(failures, draw=1.0) / 1000
            self._tell(f"{member.name} {ended(member.status)}; starting it again in {delay_s:g} s")
            await within(member.leaving, delay_s)

    async def _live(self, member: Member) -> int:
        """One life of a member, from its start to its end: its exit status."""
        try:
            child = await self._spawn(member)
        except OSError as error:
            self._tell(f"{member.name} cannot be started: {error}")
            return 1
        member.child = child
        member.starts += 1
        if member.leaving.is_set():
            _send(member, signal.SIGTERM)
        listening = asyncio.create_task(self._pass_on(member.name, child.stdout))
        try:
            status = await child.wait()
            await asyncio.wait({listening}, timeout=LAST_WORDS_S)
        finally:
            member.child = None
            listening.cancel()
        return status

    async def _spawn(self, member: Member) -> asyncio.subprocess.Process:
        reader, _ = self._pipe
        return await asyncio.create_subprocess_exec(
            # -P: nothing in the directory in which the user works shadows a module.
            *(sys.executable, "-P", "-m", "headrace", *member.words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**needed(self._environ, member.words[0]), PARENT_FD: str(reader), "PYTHONUNBUFFERED": "1"},
            pass_fds=(reader,),
            start_new_session=True,
        )

    async def _pass_on(self, name: str, output: asyncio.StreamReader | None) -> None:
        """Tell every line of a member's output under its name."""
        rest = b""
        while output and (chunk := await output.read(CHUNK_BYTES)):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._tell(f"{name:<10} | {line[:LINE_BYTES].decode(errors='replace')}")
            rest = rest[-LINE_BYTES:]
        if rest:
            self._tell(f"{name:<10} | {rest.decode(errors='replace')}")


def needed(environ: Mapping[str, str], command: str) -> dict[str, str]:
    """The environment of a command: everything but the secrets of other commands."""
    foreign = {variable for name, variables in SECRETS.items() if name != command for variable in variables}
    foreign |= {f"{variable}_FILE" for variable in foreign}
    return {name: value for name, value in environ.items() if name not in foreign}


def ended(status: int | None) -> str:
    """How a process ended, in words."""
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _send(member: Member, number: signal.Signals) -> None:
    if member.child is not None and member.child.returncode is None:
        with suppress(ProcessLookupError):
            member.child.send_signal(number)
