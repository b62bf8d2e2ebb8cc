"""WebFinger for calls (RFC 7033): one spelling of an account, what a domain may say of it, and what it may not."""

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.agent.domains import REL_STANDING_ADDRESS, Account, DomainResolver, Found, read_descriptor
from relay.agent.web_get import web_trust
from relay.core import MisuseError, PeerError, RefusedByPolicy, SeededEntropy, TransportUnavailable
from relay.identity import Identity, Invitation, InvitationKind
from tests.agent.web_hosts import Hosts, moved, ok, small_web

ALICE = Account("alice", "example.org")
IDENTITY = Identity.generate(SeededEntropy("alice"))
ONION = "abcdefgh" * 7 + ".onion"


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    # Not pytest's own directories: their paths are too long for a unix socket.
    with tempfile.TemporaryDirectory(prefix="bvr-") as place:
        async with small_web(Path(place)) as web:
            yield web


def descriptor(subject: str = ALICE.uri, *links: object, **more: object) -> bytes:
    ours = {"rel": REL_STANDING_ADDRESS, "href": IDENTITY.sip_uri("alice")}
    return json.dumps({"subject": subject, "links": [*links, ours], **more}).encode()


def resolver(hosts: Hosts) -> DomainResolver:
    return DomainResolver(hosts, web_trust(str(hosts.authority.file)))


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("alice@example.org", ALICE),
        ("ALICE@Example.ORG", ALICE),
        (" acct:alice@example.org. ", ALICE),
        ("sip:Alice@example.org", ALICE),
        ("a.b+c@example.org", Account("a.b+c", "example.org")),
        ("alice@bücher.example", Account("alice", "xn--bcher-kva.example")),
        ("alice@BÜCHER.example", Account("alice", "xn--bcher-kva.example")),
        ("alice@faß.example", Account("alice", "xn--fa-hia.example")),
        ("alice@example。org", ALICE),
        (f"alice@{ONION}", Account("alice", ONION)),
    ],
)
def test_one_account_has_one_spelling(text: str, account: Account) -> None:
    assert Account.parse(text) == account
    assert Account.parse(account.uri) == account


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@example.org",
        "alice@",
        "alice@localhost",
        "alice@router.local",
        "alice@127.0.0.1",
        "alice@[::1]",
        "alice@2130706433",
        f"alice@{IDENTITY.address}.bayonne.alt",
        f"alice@www.{ONION}",
        "alice@exa mple.org",
        "alice@example.org:8443",
        "alice@example.org/x",
        "al ice@example.org",
        "alice%40x@example.org",
        "älice@example.org",
        "\u212aarl@example.org",
        "a@b@example.org",
        "alice@" + "ä" * 300 + ".org",
        "alice@\u0661.example",
        "alice@a\u202eb.example",
    ],
)
def test_what_is_no_account_says_how_one_is_written(text: str) -> None:
    with pytest.raises(MisuseError):
        Account.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_an_account_or_misuse(text: str) -> None:
    try:
        account = Account.parse(text)
    except MisuseError:
        return
    assert Account.parse(account.text) == account


async def test_the_question_is_that_of_the_rfc(hosts: Hosts) -> None:
    await hosts.put_up("example.org", ok(descriptor()))
    found = await resolver(hosts).resolve(ALICE)
    assert found == Found(ALICE, IDENTITY.public_key, IDENTITY.sip_uri("alice"))
    assert found.address == IDENTITY.address
    assert found.invitation is None
    assert IDENTITY.address not in repr(found)
    url = urlsplit(hosts.requests[0].split()[1].decode())
    assert url.path == "/.well-known/webfinger"
    assert parse_qs(url.query) == {"resource": ["acct:alice@example.org"], "rel": [REL_STANDING_ADDRESS]}
    assert b"resource=acct%3Aalice%40example.org&" in hosts.requests[0]


async def test_two_accounts_of_a_domain_are_asked_on_two_circuits(hosts: Hosts) -> None:
    await hosts.put_up("example.org", ok(descriptor()), ok(descriptor("acct:bob@example.org")))
    await resolver(hosts).resolve(ALICE)
    await resolver(hosts).resolve(Account("bob", "example.org"))
    one, two = (isolation for _, _, isolation in hosts.asked)
    assert one != two


async def test_a_domain_that_has_its_answers_elsewhere(hosts: Hosts) -> None:
    await hosts.put_up("example.org", moved("https://social.example.net/.well-known/webfinger?x", 301))
    await hosts.put_up("social.example.net", ok(descriptor(), "application/json; charset=utf-8"))
    assert (await resolver(hosts).resolve(ALICE)).public_key == IDENTITY.public_key


async def test_an_onion_is_a_domain_too(hosts: Hosts) -> None:
    account = Account("alice", ONION)
    await hosts.put_up(ONION, ok(descriptor(account.uri)))
    assert (await resolver(hosts).resolve(account)).public_key == IDENTITY.public_key


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", RefusedByPolicy),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", RefusedByPolicy),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", PeerError),
        (b"HTTP/1.1 204 No Content\r\n\r\n", PeerError),
        (ok(descriptor(), "text/html"), PeerError),
        (ok(descriptor(), ""), PeerError),
        (ok(b"<html>", "application/json"), PeerError),
    ],
)
async def test_an_answer_of_no_use(hosts: Hosts, answer: bytes, error: type[Exception]) -> None:
    await hosts.put_up("example.org", answer)
    with pytest.raises(error):
        await resolver(hosts).resolve(ALICE)


async def test_without_tor_there_is_no_answer(hosts: Hosts) -> None:
    with pytest.raises(TransportUnavailable):
        await resolver(hosts).resolve(ALICE)


@pytest.mark.parametrize(
    "body",
    [
        descriptor("acct:ALICE@Example.org"),
        descriptor(ALICE.uri, {"rel": "self", "href": "https://example.org/alice"}),
        descriptor(ALICE.uri, {"rel": 7}, {"titles": {"en": "x"}}, "x", None, {"rel": "x", "href": None}),
        descriptor(ALICE.uri, aliases=["https://example.org/@alice"], properties={"x": None}),
    ],
)
def test_what_else_a_descriptor_says_does_not_matter(body: bytes) -> None:
    assert read_descriptor(body, ALICE).public_key == IDENTITY.public_key


def with_href(href: str) -> bytes:
    return json.dumps({"subject": ALICE.uri, "links": [{"rel": REL_STANDING_ADDRESS, "href": href}]}).encode()


@pytest.mark.parametrize(
    "href",
    [f"SIP:{IDENTITY.address.upper()}.BAYONNE.ALT", f"sip:someone%20else@{IDENTITY.address}.bayonne.alt"],
)
def test_every_spelling_of_an_address(href: str) -> None:
    assert read_descriptor(with_href(href), ALICE).address == IDENTITY.address


def invitation(kind: InvitationKind) -> str:
    entropy = SeededEntropy("invitation")
    return Invitation.generate(kind, IDENTITY.public_key, ("abcdefgh" * 7,), 0, entropy).format()


def test_a_standing_invitation_in_place_of_an_address() -> None:
    href = invitation(InvitationKind.STANDING)
    found = read_descriptor(with_href(href), ALICE)
    assert found.address == IDENTITY.address
    assert found.invitation == Invitation.parse(href)


def test_an_invitation_for_one_use_and_one_with_trimmings_are_refused() -> None:
    standing = invitation(InvitationKind.STANDING)
    for href in (invitation(InvitationKind.ONCE), f"<{standing}>", f" {standing}", f"{standing}."):
        with pytest.raises(PeerError):
            read_descriptor(with_href(href), ALICE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"subject": "acct:alice@example.org", "links": {}}',
        b'{"subject": "acct:alice@example.org", "links": ' + b"[" * 60000,
        b'{"links": []}',
        descriptor("acct:bob@example.org"),
        descriptor("acct:alice@example.net"),
        descriptor("alice@example.org"),
        descriptor("https://example.org/alice"),
        descriptor("acct:alice@example.org", *[{}] * 300),
        with_href(""),
        with_href("sip:alice@example.org"),
        with_href("https://example.org/"),
        with_href(f"sip:alice@{'a' * 56}.bayonne.alt"),
        with_href(f"sip:alice@{IDENTITY.address}.bayonne.alt;transport=tcp"),
        with_href(f"sip:alice@{IDENTITY.address}.onion"),
        with_href("bayonne:abc"),
        with_href("bayonne:" + "a" * 5000),
    ],
)
def test_a_descriptor_that_cannot_be_used(body: bytes) -> None:
    with pytest.raises(PeerError):
        read_descriptor(body, ALICE)


@pytest.mark.parametrize("links", [[], [{"rel": "self", "href": "x"}]])
def test_a_descriptor_without_an_address_of_ours(links: list[object]) -> None:
    with pytest.raises(RefusedByPolicy, match="publishes no address"):
        read_descriptor(json.dumps({"subject": ALICE.uri, "links": links}).encode(), ALICE)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["subject", "links", "rel", "href"]), inner, max_size=4),
    ),
)


@given(
    st.one_of(
        st.binary(max_size=200),
        _JSON.map(lambda value: json.dumps(value).encode()),
        _JSON.map(lambda value: json.dumps({"subject": ALICE.uri, "links": [value]}).encode()),
        st.text(max_size=200).map(with_href),
    )
)
def test_no_descriptor_raises_anything_else(body: bytes) -> None:
    with pytest.raises((PeerError, RefusedByPolicy)):
        read_descriptor(body, ALICE)
