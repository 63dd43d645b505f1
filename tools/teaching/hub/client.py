"""A student who is a program: logs in, starts the server, runs cells over its websocket.

For the tests and for ``start.py bench hub``. It speaks only to this machine.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
import uuid
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

AsyncHTTPClient.configure(None, max_clients=1000, max_body_size=2**30)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


class Refused(Exception):
    """The hub or a server said no: `code` is its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}"[:300])
        self.code = code


class Student:
    """One browser with its cookies."""

    def __init__(self, address: str, login: str, password: str) -> None:
        if urlsplit(address).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"{address} is not on this machine: simulated students stay on it.")
        self.address, self.login, self.password = address.rstrip("/"), login, password
        self.cookies: dict[tuple[str, str], str] = {}
        self.socket: WebSocketClientConnection | None = None
        self.kernel = ""

    @property
    def server(self) -> str:
        return f"/user/{self.login}"

    # Pages

    async def ask(
        self, method: str, path: str, body: str | None = None, headers: dict | None = None
    ) -> HTTPResponse:
        """One request, and those that it is sent on to, as a browser does it."""
        address = urljoin(self.address, path)
        for _ in range(20):
            request = HTTPRequest(
                address,
                method,
                headers=(headers or {}) | self.cookie_header(address),
                body=body,
                follow_redirects=False,
                request_timeout=600,
                connect_timeout=600,
                allow_nonstandard_methods=True,
            )
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
            self.remember(answer)
            if answer.code in (301, 302, 303, 307) and "Location" in answer.headers:
                address = urljoin(address, answer.headers["Location"])
                method, body = "GET", None
                continue
            answer.landed = urlsplit(address).path
            return answer
        raise Refused(310, f"sent on without end: {path}")

    async def get(self, path: str) -> HTTPResponse:
        answer = await self.ask("GET", path)
        if answer.code >= 400:
            raise Refused(answer.code, answer.body.decode(errors="replace"))
        return answer

    def remember(self, answer: HTTPResponse) -> None:
        for line in answer.headers.get_list("Set-Cookie"):
            for name, one in SimpleCookie(line).items():
                self.cookies[one["path"] or "/", name] = one.value

    def cookie_header(self, address: str) -> dict[str, str]:
        path = urlsplit(address).path
        fitting = sorted(key for key in self.cookies if path.startswith(key[0]))
        chosen = {
            name: self.cookies[where, name] for where, name in fitting
        }  # the longest path wins
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in chosen.items())}

    def xsrf(self, path: str) -> str:
        fitting = [key for key in self.cookies if key[1] == "_xsrf" and path.startswith(key[0])]
        return self.cookies[max(fitting)] if fitting else ""

    async def log_in(self) -> None:
        await self.get("/hub/login")
        form = {
            "username": self.login,
            "password": self.password,
            "_xsrf": self.xsrf("/hub/login"),
        }
        answer = await self.ask("POST", "/hub/login?next=%2Fhub%2Fhome", urlencode(form), FORM)
        if answer.code >= 400 or answer.landed != "/hub/home":
            raise Refused(answer.code, f"{self.login} could not log in")

    async def start_server(self, seconds: float = 600) -> float:
        """Ask for the server and wait until its page answers; how long that took."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            answer = await self.ask("GET", f"/hub/spawn/{self.login}")
            if answer.code < 400 and answer.landed.startswith(f"{self.server}/"):
                return time.monotonic() - started
            if answer.code >= 400 and answer.code not in (429, 503):
                raise Refused(answer.code, answer.body.decode(errors="replace"))
            await asyncio.sleep(1)
        raise Refused(504, f"the server of {self.login} did not start in {seconds:.0f} s")

    # The server's own addresses

    async def api(self, method: str, path: str, content: object = None) -> object:
        where = f"{self.server}/api/{path}"
        body = None if content is None else json.dumps(content)
        headers = JSON | {"X-XSRFToken": self.xsrf(where)}
        answer = await self.ask(method, where, body, headers)
        if answer.code >= 400 or answer.landed != urlsplit(where).path:
            raise Refused(answer.code, answer.body.decode(errors="replace"))
        return json.loads(answer.body) if answer.body else None

    async def read(self, path: str) -> dict:
        return await self.api("GET", f"contents/{quote(path)}?content=1")

    async def save(self, path: str, notebook: dict) -> None:
        await self.api(
            "PUT",
            f"contents/{quote(path)}",
            {"type": "notebook", "content": notebook, "format": "json"},
        )

    async def open_kernel(self, path: str) -> None:
        """A session for a notebook, and the websocket to its kernel."""
        session = await self.api(
            "POST",
            "sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        self.close()
        self.kernel = session["kernel"]["id"]
        self.id = uuid.uuid4().hex
        where = f"{self.server}/api/kernels/{self.kernel}/channels?session_id={self.id}"
        address = self.address.replace("http", "ws", 1) + where
        self.socket = await websocket_connect(
            HTTPRequest(address, headers=self.cookie_header(address), request_timeout=600),
            max_message_size=2**28,
        )
        await self.talk("kernel_info_request", {})

    async def run(self, code: str, seconds: float = 600) -> Ran:
        """Run one cell; what it showed, and how long it took."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        return await self.talk("execute_request", content | {"stop_on_error": False}, seconds)

    async def move(self, comm: str, **state: object) -> Ran:
        """Move a widget: what its page sends when somebody drags it. Waits until that is done."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        return await self.talk("comm_msg", {"comm_id": comm, "data": data})

    async def talk(self, kind: str, content: dict, seconds: float = 600) -> Ran:
        message = self.message(kind, content)
        ran, started = Ran(), time.monotonic()
        await self.socket.write_message(json.dumps(message))
        replied = idle = False
        while not (idle and (replied or kind == "comm_msg")):
            left = started + seconds - time.monotonic()
            text = await asyncio.wait_for(self.socket.read_message(), max(left, 0.01))
            if text is None:
                raise Refused(410, f"the connection of {self.login} to the kernel was closed")
            answer = json.loads(text if isinstance(text, str) else without_buffers(text))
            kind_of, inside = answer["msg_type"], answer["content"]
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if kind_of == "status" and inside["execution_state"] == "idle":
                idle = True
            elif kind_of.endswith("_reply"):
                replied = True
            elif kind_of == "error":
                ran.error = f"{inside['ename']}: {inside['evalue']}"
            elif kind_of == "stream":
                ran.text += inside["text"]
            elif kind_of in ("execute_result", "display_data"):
                ran.text += inside["data"].get("text/plain", "") + "\n"
            elif kind_of == "comm_open":
                ran.opened[inside["comm_id"]] = inside["data"].get("state", {})
        ran.seconds = time.monotonic() - started
        return ran

    def message(self, kind: str, content: dict) -> dict:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "username": self.login,
            "session": self.id,
            "version": "5.3",
        }
        return {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


def without_buffers(data: bytes) -> bytes:
    """The JSON of a message that has arrays' bytes after it."""
    (count,) = struct.unpack("!i", data[:4])
    begin, *rest = struct.unpack(f"!{count}I", data[4 : 4 + 4 * count])
    return data[begin : rest[0] if rest else None]


class Ran:
    """What a cell showed."""

    def __init__(self) -> None:
        self.text, self.error, self.seconds = "", "", 0.0
        self.opened: dict[str, dict] = {}
