"""Digest authentication: RFC 7616 as RFC 8760 takes it into SIP, qop=auth, SHA-256 and MD5.

ACK and CANCEL cannot be challenged (RFC 3261 section 22.1): do not verify them.
"""

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from relay.core import Entropy, MisuseError, PeerError
from relay.sip.grammar import is_token, quote, skip_quoted, split_outside, unquote

ALGORITHMS = ("SHA-256", "MD5")
"""In the order in which we want them used (RFC 8760 section 2.3)."""

_MAX_PARAMETERS = 32
_LOWER_HEXADECIMAL = frozenset("0123456789abcdef")


def _bad(reason: str = "malformed") -> PeerError:
    return PeerError(reason, "RFC 7616 section 3.4")


def _hash(algorithm: str, text: str) -> str:
    data = text.encode()
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    if algorithm == "MD5":
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    raise MisuseError("an algorithm that is neither SHA-256 nor MD5")


def compute_response(
    algorithm: str,
    *,
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    nc: str,
    cnonce: str,
    qop: str = "auth",
) -> str:
    """The response of RFC 7616 section 3.4.1; that of RFC 2069 with an empty `qop`."""
    ha1 = _hash(algorithm, f"{username}:{realm}:{password}")
    ha2 = _hash(algorithm, f"{method}:{uri}")
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return _hash(algorithm, f"{ha1}:{middle}:{ha2}")


def _parse_auth(text: str) -> dict[str, str]:
    """The parameters of a Digest challenge or credentials, names in lower case, values without quotes."""
    scheme, blank, rest = text.strip(" \t").partition(" ")
    if scheme.lower() != "digest" or not blank:
        raise _bad("unsupported scheme")
    found: dict[str, str] = {}
    parts = split_outside(rest, ",")
    if len(parts) > _MAX_PARAMETERS:
        raise _bad("too many elements")
    for part in parts:
        name, equals, value = part.partition("=")
        name, value = name.rstrip(" \t").lower(), value.lstrip(" \t")
        if not equals or not is_token(name) or not value:
            raise _bad()
        if name in found:
            raise _bad("duplicate parameter")
        if value.startswith('"'):
            if skip_quoted(value, 0) != len(value):
                raise _bad()
            value = unquote(value)
        elif any(character in value for character in ' \t"<>'):
            raise _bad()
        found[name] = value
    return found


def _algorithm(name: str) -> str:
    for known in ALGORITHMS:
        if name.upper() == known:
            return known
    raise _bad("unsupported algorithm")


@dataclass(frozen=True, slots=True)
class Challenge:
    """The value of one WWW-Authenticate or Proxy-Authenticate header."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ("auth",)
    opaque: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, text: str) -> "Challenge":
        """Raises `PeerError`, also for an algorithm we do not have: a client ignores such a challenge."""
        values = _parse_auth(text)
        if "realm" not in values or not values.get("nonce"):
            raise _bad()
        qop = tuple(
            word.strip(" \t").lower() for word in values.get("qop", "").split(",") if word.strip(" \t")
        )
        return cls(
            values["realm"],
            values["nonce"],
            _algorithm(values.get("algorithm", "MD5")),
            qop,
            values.get("opaque"),
            values.get("stale", "").lower() == "true",
        )

    def __str__(self) -> str:
        parts = [f"realm={quote(self.realm)}", f"nonce={quote(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        if self.stale:
            parts.append("stale=true")
        parts.append(f"algorithm={_algorithm(self.algorithm)}")
        if self.qop:
            parts.append(f"qop={quote(','.join(self.qop))}")
        return "Digest " + ", ".join(parts)

    def answer(
        self, *, username: str, password: str, method: str, uri: str, count: int, cnonce: str
    ) -> "Credentials":
        """Credentials for this challenge; `count` is how often this nonce has now been used, from 1."""
        if "auth" not in self.qop:
            raise _bad("no qop")
        nc = f"{count:08x}"
        response = compute_response(
            self.algorithm,
            username=username,
            realm=self.realm,
            password=password,
            method=method,
            uri=uri,
            nonce=self.nonce,
            nc=nc,
            cnonce=cnonce,
        )
        return Credentials(
            username, self.realm, self.nonce, uri, response, self.algorithm, "auth", nc, cnonce, self.opaque
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """The value of one Authorization or Proxy-Authorization header."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    qop: str = ""
    nc: str = ""
    cnonce: str = ""
    opaque: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Credentials":
        values = _parse_auth(text)
        if (
            any(not values.get(name) for name in ("username", "nonce", "uri", "response"))
            or "realm" not in values
        ):
            raise _bad()
        algorithm = _algorithm(values.get("algorithm", "MD5"))
        response = values["response"].lower()
        if len(response) != len(_hash(algorithm, "")) or not _LOWER_HEXADECIMAL.issuperset(response):
            raise _bad()
        nc = values.get("nc", "").lower()
        if nc and (len(nc) != 8 or not _LOWER_HEXADECIMAL.issuperset(nc)):
            raise _bad()
        qop = values.get("qop", "").lower()
        if qop and not (is_token(qop) and nc and values.get("cnonce")):
            raise _bad()
        return cls(
            values["username"],
            values["realm"],
            values["nonce"],
            values["uri"],
            response,
            algorithm,
            qop,
            nc,
            values.get("cnonce", ""),
            values.get("opaque"),
        )

    def __str__(self) -> str:
        parts = [
            f"username={quote(self.username)}",
            f"realm={quote(self.realm)}",
            f"nonce={quote(self.nonce)}",
            f"uri={quote(self.uri)}",
            f"response={quote(self.response)}",
            f"algorithm={_algorithm(self.algorithm)}",
        ]
        if self.qop:
            if not is_token(self.qop) or not is_token(self.nc):
                raise MisuseError("qop or nc that is not a token")
            parts += [f"qop={self.qop}", f"nc={self.nc}", f"cnonce={quote(self.cnonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        return "Digest " + ", ".join(parts)


class NonceOffice:
    """Nonces that carry their own time under a MAC: nothing is remembered until one was used with success."""

    __slots__ = ("_lifetime_ms", "_secret")

    def __init__(self, secret: bytes, *, lifetime: float = 300.0) -> None:
        if len(secret) < 16:
            raise MisuseError("a nonce secret shorter than 16 bytes")
        self._secret = secret
        self._lifetime_ms = int(lifetime * 1000)

    def issue(self, now: float, entropy: Entropy) -> str:
        stamp = int(now * 1000).to_bytes(8) + entropy.token(8)
        return base64.urlsafe_b64encode(stamp + self._mac(stamp)).decode()

    def issued_at(self, nonce: str) -> int | None:
        """When (in ms) we issued this nonce; None if it is none of ours."""
        if len(nonce) != 44 or not nonce.isascii():
            return None
        try:
            data = base64.b64decode(nonce, altchars=b"-_", validate=True)
        except ValueError:
            return None
        stamp, mac = data[:16], data[16:]
        # Only the one spelling we issued: two texts for the same bytes would be two replay windows.
        if not hmac.compare_digest(mac, self._mac(stamp)) or base64.urlsafe_b64encode(data).decode() != nonce:
            return None
        return int.from_bytes(stamp[:8])

    def is_fresh(self, issued_at: int, now: float) -> bool:
        age = int(now * 1000) - issued_at
        return 0 <= age <= self._lifetime_ms

    def _mac(self, stamp: bytes) -> bytes:
        return hmac.digest(self._secret, b"bayonne sip nonce" + stamp, "sha256")[:16]


class Outcome(Enum):
    """What came of the credentials of a request."""

    ACCEPTED = "accepted"
    ABSENT = "absent"
    STALE = "stale"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`username` is set when, and only when, the outcome is ACCEPTED."""

    outcome: Outcome
    username: str | None = None


class Authenticator:
    """Challenges and checks for one realm.  Memory: at most `capacity` nonces that were used with success."""

    WINDOW = 64
    """How far behind the highest nonce count a late one may be; a count is accepted once."""

    def __init__(
        self,
        realm: str,
        passwords: Mapping[str, str],
        entropy: Entropy,
        *,
        lifetime: float = 300.0,
        capacity: int = 1024,
    ) -> None:
        self._realm = realm
        self._passwords = passwords
        self._entropy = entropy
        self._office = NonceOffice(entropy.token(32), lifetime=lifetime)
        self._capacity = capacity
        self._no_password = entropy.token(16).hex()
        self._used: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._floor = -1

    def challenges(self, now: float, *, stale: bool = False) -> list[Challenge]:
        """One challenge for each algorithm, most wanted first, all with one nonce."""
        nonce = self._office.issue(now, self._entropy)
        return [Challenge(self._realm, nonce, name, ("auth",), None, stale) for name in ALGORITHMS]

    def verify(self, values: Sequence[str], method: str, now: float) -> Verdict:
        """Judge the Authorization headers of one request.

        The digest's URI is not compared with the Request-URI: RFC 8760 section 2.6 item 6 leaves that open
        and phones differ.  Hostile values are REFUSED, never an error.
        """
        verdict = Verdict(Outcome.ABSENT)
        for value in values[: len(ALGORITHMS)]:
            try:
                credentials = Credentials.parse(value)
            except PeerError:
                verdict = Verdict(Outcome.REFUSED)
                continue
            if credentials.realm != self._realm:
                continue
            verdict = self._judge(credentials, method, now)
            if verdict.outcome is Outcome.ACCEPTED:
                break
        return verdict

    def _judge(self, credentials: Credentials, method: str, now: float) -> Verdict:
        issued_at = self._office.issued_at(credentials.nonce)
        if credentials.qop != "auth":
            return Verdict(Outcome.REFUSED)
        if issued_at is None:
            # A phone that outlived our last run comes with a nonce of then.  RFC 7616 section 3.3 calls an
            # invalid nonce stale; a refusal would make the phone believe that its password is wrong.
            return Verdict(Outcome.STALE)
        password = self._passwords.get(credentials.username)
        expected = compute_response(
            credentials.algorithm,
            username=credentials.username,
            realm=self._realm,
            # An unknown name costs the same time as a known one.
            password=self._no_password if password is None else password,
            method=method,
            uri=credentials.uri,
            nonce=credentials.nonce,
            nc=credentials.nc,
            cnonce=credentials.cnonce,
        )
        same = hmac.compare_digest(expected, credentials.response)
        if not same or password is None:
            return Verdict(Outcome.REFUSED)
        if issued_at <= self._floor or not self._office.is_fresh(issued_at, now):
            return Verdict(Outcome.STALE)
        if not self._count(credentials.nonce, issued_at, int(credentials.nc, 16)):
            return Verdict(Outcome.STALE)
        return Verdict(Outcome.ACCEPTED, credentials.username)

    def _count(self, nonce: str, issued_at: int, nc: int) -> bool:
        """Whether this nonce count is new; remembers it."""
        _, highest, seen = self._used.get(nonce, (issued_at, 0, 0))
        if nc > highest:
            shift = nc - highest
            seen = (seen << shift | 1) & ((1 << self.WINDOW) - 1) if shift < self.WINDOW else 1
            highest = nc
        else:
            behind = highest - nc
            if nc == 0 or behind >= self.WINDOW or seen >> behind & 1:
                return False
            seen |= 1 << behind
        self._used[nonce] = (issued_at, highest, seen)
        self._used.move_to_end(nonce)
        if len(self._used) > self._capacity:
            _, (forgotten, _, _) = self._used.popitem(last=False)
            # What was forgotten could be replayed: everything as old as that is stale from now on.
            self._floor = max(self._floor, forgotten)
        return True
