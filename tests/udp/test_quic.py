"""QUIC through the proxy: aioquic at both ends, and nothing but datagrams between."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration

from language import Authority, Running, authority, endpoint, eventually, proxy

ALPN = ["echo"]
MEBIBYTE = 1 << 20


@asynccontextmanager
async def server(name: str, ca: Authority) -> AsyncIterator[str]:
    """Answers each stream with its name and what it was sent."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    pair = ca.certificate("localhost")
    configuration.load_cert_chain(pair.cert, pair.key)
    tasks = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} ".encode() + await reader.read())
        writer.write_eof()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(echo(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    running = await serve("127.0.0.1", 0, configuration=configuration, stream_handler=begin)
    try:
        yield "127.0.0.1:" + str(running._transport.get_extra_info("sockname")[1])
    finally:
        running.close()


@asynccontextmanager
async def connection(running: Running, ca: Authority) -> AsyncIterator[QuicConnectionProtocol]:
    configuration = QuicConfiguration(alpn_protocols=ALPN, server_name="localhost")
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(str(ca.file))
    async with connect(*running.listening(), configuration=configuration, local_port=0) as client:
        yield client


async def ask(client: QuicConnectionProtocol, text: bytes) -> tuple[str, bytes]:
    """On a stream of its own: who answers, and what."""
    reader, writer = await client.create_stream()
    writer.write(text)
    writer.write_eof()
    name, _, said = (await asyncio.wait_for(reader.read(), 60)).partition(b" ")
    return name.decode(), said


def test_connections_pass_with_handshake_and_streams() -> None:
    async def scene() -> None:
        ca = authority()
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(server(f"{number}", ca)) for number in range(2)]
            running = proxy().pool(*servers, policy="round_robin").listener(protocol="udp").start()
            clients = [await stack.enter_async_context(connection(running, ca)) for _ in range(4)]
            first = [(await ask(client, b"hello"))[0] for client in clients]
            assert sorted(first) == ["0", "0", "1", "1"]
            # Streams at once, on connections at once, of a mebibyte each way.
            large = bytes(number % 251 for number in range(MEBIBYTE))
            for _ in range(2):
                answers = await asyncio.gather(*(ask(client, large) for client in clients))
                assert [name for name, _ in answers] == first
                assert all(said == large for _, said in answers)
            many = await asyncio.gather(*(ask(clients[0], b"%d" % number) for number in range(50)))
            assert many == [(first[0], b"%d" % number) for number in range(50)]
            shown = running.listener()
            assert (shown["accepted"], shown["connections"]) == (4, 4)
            assert not any(shown["udp"]["dropped"].values()), shown["udp"]

    asyncio.run(scene())


def test_a_connection_lives_through_reloads_and_the_drain_of_its_server() -> None:
    async def scene() -> None:
        ca = authority()
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(server(f"{number}", ca)) for number in range(2)]
            running = proxy().pool(*servers, policy="round_robin").listener(protocol="udp").start()
            client = await stack.enter_async_context(connection(running, ca))
            name, _ = await ask(client, b"hello")
            for drained in ("0", "1"):
                plan = proxy().pool(
                    *(
                        endpoint(address, drain=str(number) == drained)
                        for number, address in enumerate(servers)
                    ),
                    policy="round_robin",
                )
                await asyncio.to_thread(running.apply, plan.listener(protocol="udp"))
                assert await ask(client, b"again") == (name, b"again")
                newcomer = await stack.enter_async_context(connection(running, ca))
                assert (await ask(newcomer, b"hello"))[0] != drained

    asyncio.run(scene())


def test_a_connection_that_ends_leaves_nothing() -> None:
    async def scene() -> Running:
        ca = authority()
        async with server("one", ca) as address:
            plan = proxy().pool(address).listener(protocol="udp", timeouts={"idle_ms": 500})
            running = plan.start()
            async with connection(running, ca) as client:
                assert await ask(client, b"hello") == ("one", b"hello")
            return running

    running = asyncio.run(scene())
    eventually(lambda: running.in_flight() == 0)
    assert running.listener()["connections"] == 0
