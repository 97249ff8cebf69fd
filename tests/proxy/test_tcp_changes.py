"""Connections that are carried as they are, while what they go through is reloaded or stops."""

from language import eventually, ok, proxy, raw, scripted
from language.through import carrying, joined


class TestChange:
    def test_a_listener_may_leave_without_its_connections(self) -> None:
        server = scripted()
        plan = proxy().pool(server).listener("stays").listener("leaves", protocol="tcp")
        running = plan.start()
        asking = raw(running, "leaves")
        connection = server.accept()
        running.apply(proxy().pool(server).listener("stays"))
        asking.send(b"x")
        connection.expect_bytes(b"x").send(b"y")
        asking.expect_bytes(b"y")

    def test_a_pool_may_leave_without_its_connections(self) -> None:
        server, other = scripted(), scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        running.apply(carrying(other))
        joined(running, other)
        asking.send(b"x")
        connection.expect_bytes(b"x").close()
        asking.expect_closed()

    def test_another_protocol_is_spoken_from_the_next_connection_on(self) -> None:
        server = scripted()
        running = proxy().pool(server).listener().start()
        raw(running).send(b"no HTTP\r\n\r\n").expect_response(400)
        running.apply(proxy().pool(server).listener(protocol="tcp"))
        asking, connection = joined(running, server)
        asking.send(b"no HTTP\r\n\r\n")
        connection.expect_bytes(b"no HTTP\r\n\r\n")

    def test_what_comes_by_the_old_protocol_goes_nowhere(self) -> None:
        web, database = scripted(), scripted()
        running = proxy().pool(web).listener().start()
        client = raw(running).get()
        connection = web.accept()
        connection.read_request()
        connection.send(ok())
        client.expect_response(200)
        running.apply(carrying(database))
        client.get().expect_closed()
        assert not database.is_called()

    def test_a_stop_waits_for_connections(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        running.stop()
        eventually(lambda: running.status()["state"] == "draining")
        asking.send(b"x")
        connection.expect_bytes(b"x").close()
        asking.expect_closed().close()
        running.expect_stopped()

    def test_a_stop_does_not_wait_for_ever(self) -> None:
        server = scripted()
        running = carrying(server).drain_timeout(100).start()
        asking, connection = joined(running, server)
        running.stop()
        running.expect_stopped()
        asking.expect_gone()
        connection.expect_gone()
