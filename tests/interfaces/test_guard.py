"""Who may ask, from where, and how much: the guard in front of the page, the REST API and websockets."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from core.errors import InputError, SettingError
from core.settings import ServerSettings, make_settings
from interfaces.rest.guard import PLAIN_BODY, Guard, check_address, is_loopback
from interfaces.server import build_app
from tests.interfaces.serving import PATIENCE_S, AppProcess, rest_server

#: Letters beyond ASCII, and a colon, which belongs to the password.
AUTH = ("märta", "s3cr:et ü")


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("runs"), max_upload_mb=1) as (client, _):
        yield client


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("runs"), auth=":".join(AUTH)) as (client, _):
        yield client


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


# -- passwords -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/", "/health", "/runs", "/docs", "/openapi.json", "/avatars/alex/thumbnail"])
def test_the_password_covers_everything(locked_server, address) -> None:
    answer = locked_server.get(address)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert "password" in answer.json()["error"]["message"]


def test_the_right_password_opens(locked_server) -> None:
    assert locked_server.get("/health", headers=basic(":".join(AUTH))).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("märta:"),
        basic("märta:s3cr"),
        basic("märta:s3cr:et ü "),
        basic("Märta:s3cr:et ü"),
        basic(":s3cr:et ü"),
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Bearer " + base64.b64encode(":".join(AUTH).encode()).decode()},
        {"authorization": ":".join(AUTH).encode()},
    ],
)
def test_wrong_passwords_do_not(locked_server, headers) -> None:
    assert locked_server.get("/health", headers=headers).status_code == 401
    assert locked_server.delete("/runs/nowhere", headers=headers).status_code == 401


def test_the_guard_stands_before_the_page_and_its_parts(tmp_path) -> None:
    server = AppProcess("--output", str(tmp_path), env={"UNDERSTUDY_AUTH": "me:secret"})
    try:
        for address in ("/", "/config", "/gradio_api/info", "/gradio_api/startup-events", "/theme.css", "/health"):
            assert httpx.get(server.url + address, timeout=PATIENCE_S).status_code == 401, address
        assert (
            httpx.post(server.url + "/gradio_api/upload", files={"files": b"x"}, timeout=PATIENCE_S).status_code == 401
        )
        assert httpx.get(server.url + "/config", auth=("me", "secret"), timeout=PATIENCE_S).status_code == 200

        def endless():
            for _ in range(PLAIN_BODY // 100_000 + 2):
                yield b" " * 100_000

        # The page's own addresses have a limit too, also where no length is announced.
        headers = {"content-type": "application/json", **basic("me:secret")}
        answer = httpx.post(
            server.url + "/gradio_api/queue/join", content=endless(), headers=headers, timeout=PATIENCE_S
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "The request is larger than 4 MB."
    finally:
        server.stop()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "1270.0.0.1", "127.0.0.1.evil.com"]
)
def test_others_are_let_in_with_a_password_only(host) -> None:
    with pytest.raises(InputError, match="UNDERSTUDY_AUTH"):
        check_address(ServerSettings(host=host))
    with pytest.raises(InputError):
        build_app(ServerSettings(host=host), page=False)
    check_address(ServerSettings(host=host, auth="user:password"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "LOCALHOST"])
def test_this_machine_needs_none(host) -> None:
    check_address(ServerSettings(host=host))


@pytest.mark.parametrize("auth", ["user", "user:", ":password", ":"])
def test_half_a_password_is_none(auth) -> None:
    with pytest.raises(SettingError) as error:
        make_settings(ServerSettings, {"auth": auth})
    assert error.value.field == "auth"


# -- other origins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:7860", "127.0.0.1.evil.com", "localhost.evil.com", "192.168.1.5"]
)
def test_a_foreign_name_for_this_machine_is_refused(open_server, host) -> None:
    answer = open_server.get("/runs", headers={"Host": host})
    assert answer.status_code == 403
    assert "this machine" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1234", "127.0.0.1:80", "[::1]:7860", "LocalHost.", "app.localhost"]
)
def test_its_own_names_are_not(open_server, host) -> None:
    assert open_server.get("/runs", headers={"Host": host}).status_code == 200


def test_a_request_without_a_host_is_refused(open_server) -> None:
    url = open_server.base_url
    with socket.create_connection((url.host, url.port), timeout=PATIENCE_S) as line:
        line.sendall(b"GET /runs HTTP/1.0\r\n\r\n")
        assert b" 403 " in line.recv(100)


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "https://127.0.0.1", "http://127.0.0.1:1", "http://localhost", "http://[", ""]
)
def test_other_pages_change_nothing(open_server, origin) -> None:
    headers = {"Origin": origin}
    assert open_server.post("/runs/nowhere/cancel", headers=headers).status_code == 403
    assert open_server.delete("/runs/nowhere", headers=headers).status_code == 403
    assert open_server.post("/runs", headers=headers, files={"clip": b"x"}).status_code == 403
    # Not even the question beforehand whether they may.
    preflight = {**headers, "Access-Control-Request-Method": "DELETE"}
    asked = open_server.options("/runs/nowhere", headers=preflight)
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_the_own_page_may(open_server) -> None:
    own = str(open_server.base_url).rstrip("/")
    assert open_server.post("/runs/nowhere/cancel", headers={"Origin": own}).status_code == 404
    # A proxy has changed the Host; the browser vouches for the page.
    headers = {"Origin": "https://pod.example.com", "Sec-Fetch-Site": "same-origin"}
    assert open_server.post("/runs/nowhere/cancel", headers=headers).status_code == 404
    # A program sends none.
    assert open_server.post("/runs/nowhere/cancel").status_code == 404


def test_headers_that_browsers_heed(open_server) -> None:
    for address in ("/health", "/runs/nowhere"):
        headers = open_server.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-frame-options"] == "SAMEORIGIN"


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.255.0.1:80", "::1", "[::1]", "[::1]:80", "localhost:7860")))
    assert not any(map(is_loopback, ("", "::", "0.0.0.0", "[::]:80", "128.0.0.1", "evil.com", "localhost@evil.com")))


# -- websockets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({"host": "pod.example.com"}, False),
        ({"host": "pod.example.com", **basic("a:b")}, True),
        ({"host": "pod.example.com", "origin": "https://evil.com", **basic("a:b")}, False),
        ({"host": "pod.example.com", "origin": "https://pod.example.com", **basic("a:b")}, True),
    ],
)
def test_websockets_pass_the_same_checks(headers, let_in) -> None:
    async def accept(_scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message) -> None:
        sent.append(message["type"])

    sent: list[str] = []
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    guard = Guard(accept, ServerSettings(host="0.0.0.0", auth="a:b"))
    # In a thread of its own: where the browser's tests ran before in this process, theirs has a loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(
            lambda: asyncio.run(guard({"type": "websocket", "path": "/", "headers": raw}, receive, send))
        ).result()
    assert sent == (["websocket.accept"] if let_in else ["websocket.close"])


# -- sizes ---------------------------------------------------------------------------------------------------------


def test_bodies_without_files_are_small(open_server) -> None:
    answer = open_server.post("/runs/nowhere/cancel", content=b"\0" * (PLAIN_BODY + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["hint"]


def test_an_announced_length_is_refused_before_it_is_sent(open_server) -> None:
    url = open_server.base_url
    request = (
        f"POST /runs HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 9000000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=PATIENCE_S) as line:
        line.sendall(request.encode())
        answer = line.recv(4000)
        assert answer.startswith(b"HTTP/1.1 413 "), answer
        assert b"1 MB" in answer or b"1 MB" in line.recv(4000)


def test_a_client_that_stops_sending_is_let_go(open_server) -> None:
    url = open_server.base_url
    head = (
        f"POST /runs HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=PATIENCE_S) as line:
        line.sendall(head.encode() + b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\nabc')
    assert open_server.get("/health").status_code == 200


def test_a_mistake_is_answered_at_once_though_all_was_sent(open_server) -> None:
    started = time.monotonic()
    assert open_server.post("/runs", files={"clips": b"x"}).status_code == 422
    assert open_server.post("/runs", content=b"").status_code == 422
    # Waiting for more would take this long.
    assert time.monotonic() - started < 9
