"""REDIS_URL=rediss:// works for both clients, and refuses a server whose certificate nobody vouches for.

The bundled server is built without TLS, so a proxy stands in front of it that speaks it.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from headrace.bus import Bus
from headrace.embedded import EmbeddedServer
from headrace.errors import UnavailableError
from headrace.events import RunAlive
from headrace.publisher import Publisher
from headrace.settings import Settings
from headrace.testing import collect, wait_until

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl to make a certificate with")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cert.pem` and `key.pem`, self-made, for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            str(OPENSSL),
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
async def tls_port(server: EmbeddedServer, certificate: Path) -> AsyncIterator[int]:
    """A port on loopback that speaks TLS in front of the real server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    open_: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", server.port)
        open_.update((writer, before))
        with suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, before), pump(behind, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield int(proxy.sockets[0].getsockname()[1])
    proxy.close()
    for writer in open_:
        writer.close()
    await asyncio.sleep(0)


Driver = Literal["redis", "asyncio-redis"]


def secure(settings: Settings, port: int, certificate: Path, **more: Driver) -> Settings:
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate / 'cert.pem'}"
    return settings.with_(redis_url=url, **more)


async def test_both_clients_speak_tls(server_settings: Settings, tls_port: int, certificate: Path) -> None:
    settings = secure(server_settings, tls_port, certificate)

    def send() -> None:
        with Publisher(settings) as publisher:
            publisher.publish("runs", RunAlive(run="r1"))
            publisher.flush(10)

    async with Bus(settings) as bus:
        heard: list[bytes] = []

        async def listen() -> None:
            async with bus.subscribe("runs", since="start") as subscription:
                async for delivery in subscription:
                    heard.extend(entry.payload for entry in delivery.entries)

        listening = asyncio.create_task(listen())
        await asyncio.to_thread(send)
        [event] = await collect(bus, "runs", 1)
        assert event == RunAlive(run="r1", id=event.id, time=event.time, source=event.source)
        await wait_until(lambda: heard, 10, "the event to be heard")
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    assert "ssl_ca_certs" not in settings.shown_url


async def test_a_certificate_that_nobody_vouches_for_is_refused(server_settings: Settings, tls_port: int) -> None:
    async with Bus(server_settings.with_(redis_url=f"rediss://localhost:{tls_port}/0")) as bus:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await bus.check()
