"""What an attacker can make of what it knows, with perfect primitives (Dolev and Yao).

A term is a tuple: its kind, then its parts.  Diffie-Hellman is ("dh", {x, y}): whoever has one exponent and the other's
public half has it.  `Knowledge` is closed under taking apart; `derivable` answers for putting together.
"""

from collections.abc import Iterable
from typing import Any

Term = tuple[Any, ...]

LOW: Term = ("low",)
"""A public key of small order: what anybody agrees with it is known to all."""


def name(text: str) -> Term:
    return ("name", text)


def pub(exponent: Term) -> Term:
    return ("pub", exponent)


def kem_public(secret: Term) -> Term:
    return ("kpk", secret)


def dh(exponent: Term, public: Term) -> Term:
    """What the holder of `exponent` agrees on with `public`."""
    return ("nothing",) if public == LOW else ("dh", frozenset((exponent, public[1])))


def encapsulated(public: Term, coins: Term) -> tuple[Term, Term]:
    """Ciphertext and shared secret."""
    return ("kct", public, coins), ("kss", public, coins)


def sealed_to(public: Term, coins: Term, content: Term) -> Term:
    """HPKE to a hybrid key, which stands as long as either half does; to a bare `pub`, to X25519 alone."""
    return ("hpke", public, coins, content)


def aead(key: Term, content: Term) -> Term:
    return ("aead", key, content)


def mac(key: Term, content: Term) -> Term:
    return ("mac", key, content)


def signature(key: Term, content: Term) -> Term:
    return ("sign", key, content)


def kdf(label: str, *parts: Term) -> Term:
    return ("kdf", label, *parts)


def group(*parts: Term) -> Term:
    return ("group", *parts)


class Knowledge:
    """An attacker's: grows and never shrinks.  `extended` gives a new one."""

    __slots__ = ("_cache", "terms")

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms = frozenset(terms) | {LOW, ("nothing",)}
        self._cache: dict[Term, bool] = {}
        while more := self._taken_apart() - self.terms:
            self.terms |= more
            self._cache.clear()

    def extended(self, *terms: Term) -> "Knowledge":
        return Knowledge(self.terms.union(terms))

    def of_kind(self, kind: str) -> list[Term]:
        """Known terms of a kind, in an order that is always the same."""
        return sorted((term for term in self.terms if term[0] == kind), key=repr)

    def derivable(self, term: Term) -> bool:
        if term in self.terms:
            return True
        known = self._cache.get(term)
        if known is None:
            self._cache[term] = known = self._made(term)
        return known

    def _made(self, term: Term) -> bool:
        match term:
            case ("dh", pair):
                exponents = tuple(pair)
                one, other = exponents[0], exponents[-1]
                return any(
                    self.derivable(mine) and self.derivable(pub(theirs))
                    for mine, theirs in ((one, other), (other, one))
                )
            case ("kss", ("kpk", secret) as public, coins):
                return (self.derivable(coins) and self.derivable(public)) or (
                    self.derivable(secret) and self.derivable(("kct", public, coins))
                )
            case ("name", _) | ("low",):
                return False
            case ("kdf", _, *parts) | (_, *parts):
                return all(self.derivable(part) for part in parts)
        return False

    def _taken_apart(self) -> set[Term]:
        found: set[Term] = set()
        for term in self.terms:
            match term:
                case ("group", *parts):
                    found.update(parts)
                case ("aead", key, content) if self.derivable(key):
                    found.add(content)
                case ("hpke", ("kpk" | "pub", secret), _, content) if self.derivable(secret):
                    found.add(content)
                case ("sign", _, content):
                    found.add(content)
                case _:
                    pass
        return found
