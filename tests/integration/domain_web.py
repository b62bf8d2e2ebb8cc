"""A web server of a domain that publishes accounts: Python's own, behind TLS."""

import http.server
import json
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from relay.agent.domains import REL_STANDING_ADDRESS
from tests.agent.web_hosts import Authority
from tests.integration.leak_watch import is_of_this_process


@dataclass(slots=True)
class Web:
    """Python's own web server behind TLS, in a thread; `links` is what it publishes for each account."""

    authority: Authority
    port: int = 0
    links: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    """What it publishes instead, as it stands."""
    redirect: str = ""
    visitors: list[tuple[str, bool]] = field(default_factory=list)
    """(path, whether the connection came straight from this process)"""

    def document(self, resource: str) -> str | None:
        """What it says of an account's URI."""
        if resource not in self.links:
            return self.documents.get(resource)
        links = [{"rel": REL_STANDING_ADDRESS, "href": self.links[resource]}]
        return json.dumps({"subject": resource, "links": links})


def serve(web: Web, domain: str, address: str) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.visitors.append((self.path, is_of_this_process(self.client_address[1])))
            url = urlsplit(self.path)
            resource = parse_qs(url.query).get("resource", [""])[0]
            if web.redirect:
                self.send_response(301)
                self.send_header("Location", web.redirect)
                self.end_headers()
            elif url.path != "/.well-known/webfinger" or (document := web.document(resource)) is None:
                self.send_error(404)
            else:
                body = document.encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/jrd+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def server_bind(self) -> None:
            # The library's own asks DNS for the name of its address.
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()

        def handle_error(self, *_: object) -> None:
            """Whoever breaks a handshake off is one of the tests."""

    server = Server((address, 0), Handler)
    server.socket = web.authority.issue(domain).wrap_socket(server.socket, server_side=True)
    web.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
