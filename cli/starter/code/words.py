"""Small helpers for short pieces of text."""


def slug(title: str) -> str:
    """Turn a title into a name for a web address, such as `my-first-loaf`.

    Anything that is not a letter or a digit becomes a space first.
    """
    kept = [letter.lower() if letter.isalnum() else " " for letter in title]
    return "-".join("".join(kept).split())


def shorten(text: str, limit: int) -> str:
    """Cut a text at a space so that it has at most `limit` characters.

    A text that was cut ends in three dots, which count towards the limit, so `limit` is at least 3.
    """
    if len(text) <= limit:
        return text
    head = text[: limit - 2]
    return head.rpartition(" ")[0] + "..."


def word_counts(text: str) -> dict[str, int]:
    """Count how often each word occurs, with capital and small letters as the same."""
    counts: dict[str, int] = {}
    for word in text.lower().split():
        word = word.strip(".,;:!?\"'()")
        if word:
            counts[word] = counts.get(word, 0) + 1
    return counts


def join_names(names: list[str]) -> str:
    """Join names as in a sentence: `Ana`, `Ana and Ben`, `Ana, Ben and Cleo`.

    An empty list gives an empty text.
    """
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]
