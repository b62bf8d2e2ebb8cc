"""Who may use the phone side: digest credentials on REGISTER and INVITE (RFC 3261 section 22, RFC 8760).

Loopback is shared by all users of a machine, so being there proves nothing.
"""

from collections import OrderedDict

from relay.agent.phone.station import Station
from relay.sip.digest import Authenticator, Outcome
from relay.sip.message import Response, response_to
from relay.sip.transaction_layer import NewRequest

_MAX_REMEMBERED = 64
_PATIENCE = 2
"""How often a phone may ask without credentials before it is offered MD5 alone."""

_OLD_LIBRE = ("baresip v0.", "baresip v1.")
"""Phones known to give up at a challenge other than MD5, wherever it stands (libre before 2)."""


class Gatekeeper:
    """Challenges with SHA-256 first and MD5 second.

    RFC 3261 tells a phone to pass over a challenge it does not understand; some give up instead.  Such a one
    is known by its User-Agent, or by asking again without credentials, and is offered MD5 alone: nothing is
    lost by that on loopback, where nobody stands between the phone and us.
    """

    def __init__(self, station: Station) -> None:
        settings = station.settings
        self._station = station
        self._authenticator = Authenticator(
            settings.realm, {settings.user: settings.password}, station.entropy
        )
        self._asked: OrderedDict[tuple[str, str, int], tuple[int, str]] = OrderedDict()

    def check(self, new: NewRequest, now: float) -> Response | None:
        """None for a request that may pass, else the response that turns it away."""
        request = new.request
        values = request.headers.all("Authorization")
        verdict = self._authenticator.verify(values, request.method, now)
        tag = self._station.steady_tag(request)
        match verdict.outcome:
            case Outcome.ACCEPTED:
                self._asked.pop(_place(new), None)
                return None
            case Outcome.REFUSED:
                self._station.counters.count("refused credentials")
                return response_to(request, 403, to_tag=tag)
        self._station.counters.count("challenged")
        response = response_to(request, 401, to_tag=tag)
        algorithms = self._algorithms(new, tag)
        for challenge in self._authenticator.challenges(now, stale=verdict.outcome is Outcome.STALE):
            if challenge.algorithm in algorithms:
                response.headers.add("WWW-Authenticate", str(challenge))
        return response

    def _algorithms(self, new: NewRequest, tag: str) -> tuple[str, ...]:
        algorithms = self._station.settings.algorithms
        if "MD5" not in algorithms:
            return algorithms
        agent = new.request.headers.get("User-Agent") or ""
        times, last = self._asked.pop(_place(new), (0, ""))
        # A retransmission has the tag of the request it repeats, and is not asking again.
        times += tag != last
        self._asked[_place(new)] = (times, tag)
        if len(self._asked) > _MAX_REMEMBERED:
            self._asked.popitem(last=False)
        if times >= _PATIENCE or agent.startswith(_OLD_LIBRE):
            return ("MD5",)
        return algorithms


def _place(new: NewRequest) -> tuple[str, str, int]:
    return new.flow.transport, new.flow.host, new.flow.port
