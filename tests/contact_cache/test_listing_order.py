"""The order of what was found: rare words, names and whole words first."""

from relay.contact_cache.listing_order import best_first, rarity

NAME, ORGANISATION, TAG, LANGUAGE = (
    (1, "x", "", "", ""),
    (2, "", "x", "", ""),
    (3, "", "", "x", ""),
    (4, "", "", "", "x"),
)


def test_fields_by_their_weight_and_whole_words_before_beginnings() -> None:
    assert best_first([LANGUAGE, TAG, ORGANISATION, NAME], ["x"], [1.0]) == [1, 2, 3, 4]
    begun = (5, "xylophone", "", "", "")
    assert best_first([begun, NAME], ["x"], [1.0]) == [1, 5]
    assert best_first([begun, TAG], ["x"], [1.0]) == [5, 3]


def test_a_word_inside_of_another_is_not_there() -> None:
    assert best_first([(1, "box", "", "", ""), (2, "y", "", "", "x")], ["x"], [1.0]) == [2, 1]


def test_the_rarer_word_decides() -> None:
    rows = [(1, "common", "rare", "", ""), (2, "rare", "common", "", "")]
    words = ["common", "rare"]
    assert best_first(rows, words, [1.0, rarity(3, 4000)]) == [2, 1]
    assert best_first(rows, words, [rarity(3, 4000), 1.0]) == [1, 2]
    assert best_first(rows, words, [1.0, 1.0]) == [1, 2], "equally good ones by number"


def test_rarity_ends_where_nobody_counts() -> None:
    assert rarity(4000, 4000) == rarity(10**6, 4000) == 1.0
    assert rarity(0, 4000) > rarity(1, 4000) > rarity(100, 4000) > 1.0


def test_the_shorter_name_first() -> None:
    assert best_first([(1, "x and some others", "", "", ""), (2, "x", "", "", "")], ["x"], [1.0]) == [2, 1]
