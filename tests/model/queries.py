"""What is asked of every moment of every run; an answer is a sentence that says what is wrong, or nothing."""

from collections.abc import Callable, Iterable

from tests.model.handshake import Person
from tests.model.intruder import Knowledge, Term
from tests.model.search import EVE, Callee, Caller, Moment

Query = Callable[[Moment], str]


def _honest(moment: Moment, kind: type[Caller | Callee]) -> list[Caller | Callee]:
    return [one for one in moment.sessions if isinstance(one, kind) and EVE not in (one.me, one.peer)]


def secrecy(later: Iterable[Term] = (), of: tuple[type[Caller | Callee], ...] = (Caller, Callee)) -> Query:
    """Nobody else has the keys of a call, also not with what is stolen `later`, when it is over."""
    leaks = tuple(later)

    def ask(moment: Moment) -> str:
        keyed = [one for kind in of for one in _honest(moment, kind) if one.keys is not None]
        if not keyed:
            return ""
        known = Knowledge(moment.known.terms.union(leaks)) if leaks else moment.known
        for one in keyed:
            assert one.keys is not None
            if any(known.derivable(key) for key in one.keys):
                return f"the keys of {one.id} are known"
        return ""

    return ask


def ring_secrecy(later: Iterable[Term] = ()) -> Query:
    """Nobody else reads a ring, also not with what is stolen later."""
    leaks = tuple(later)

    def ask(moment: Moment) -> str:
        rung = [one for one in _honest(moment, Caller) if isinstance(one, Caller) and one.made is not None]
        known = moment.known.extended(*leaks) if leaks and rung else moment.known
        for one in rung:
            assert one.made is not None
            if known.derivable(one.made.shared[0]):
                return f"the ring of {one.id} is read"
        return ""

    return ask


def callee_agreement(moment: Moment) -> str:
    """Who takes a ring of somebody's was rung by them, once for each time."""
    rung = [
        (one.me, one.peer, one.made.content)
        for one in moment.sessions
        if isinstance(one, Caller) and one.made is not None
    ]
    for one in _honest(moment, Callee):
        if isinstance(one, Callee) and one.ring is not None:
            mark = (one.peer, one.me, one.content)
            if mark not in rung:
                return f"{one.id} took what was not rung, or was taken before"
            rung.remove(mark)
    return ""


def caller_agreement(moment: Moment) -> str:
    """Who has the keys of a call got them from whom they rang, who has the same, and nobody else got these."""
    answered = [(one.me, one.peer, one.keys) for one in moment.sessions if isinstance(one, Callee)]
    for one in _honest(moment, Caller):
        if one.keys is not None:
            mark = (one.peer, one.me, one.keys)
            if mark not in answered:
                return f"{one.id} was answered by somebody else"
            answered.remove(mark)
    return ""


def no_unknown_share(moment: Moment) -> str:
    """Two who hold one key mean each other."""
    keyed = [one for one in moment.sessions if one.keys is not None]
    for one in keyed:
        for other in keyed:
            if one is not other and _keys(one) & _keys(other) and not _mean_each_other(one, other):
                return f"{one.id} and {other.id} have one key and do not mean each other"
    return ""


def _keys(session: Caller | Callee) -> set[Term]:
    return set(session.keys or ())


def _mean_each_other(one: Caller | Callee, other: Caller | Callee) -> bool:
    met: tuple[Person, Person] = (one.me, one.peer)
    return type(one) is not type(other) and met == (other.peer, other.me)
