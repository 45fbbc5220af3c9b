"""The recipe's `noise:` block: how instructions are reworded, how far, and what must survive it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from understudy.sections import Strict, misplaced

Weight = Annotated[float, Field(gt=0)]


class Window(Strict):
    """What the context noiser is shown of the seed's surroundings."""

    neighbours: int = Field(2, ge=0, le=20)
    """Seeds of the same file before it, and as many after it."""
    characters: int = Field(1000, ge=0)
    """Most characters of them together; those nearest to the seed are kept."""


class Noise(Strict):
    """Instructions reworded as real users might put them, while the answer, and so the label, stays as it is."""

    share: float = Field(0.3, ge=0, le=1)
    """Share of the drafts whose instruction a noiser rewords."""
    strength: float = Field(0.3, gt=0, le=1)
    """How far a noiser goes: from slightly to very strongly; for `typos`, a third of it is the share of words."""
    weights: dict[str, Weight] = Field({})
    """How often each noiser is drawn, such as `{typos: 3, persona: 1}`: those named here alone. Empty: all of
    `agents.noise`, equally often."""
    similarity: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = (0.75, 0.98)
    """Least and greatest cosine of the clean and the noised instruction, by `dedup.embedder`: below, the meaning is
    lost; above, nothing was done. The upper one is not for `typos`. Null: no such check."""
    protect: tuple[str, ...] = ()
    """Words and phrases that must stand in the noised instruction if they stand in the clean one."""
    min_words: int = Field(0, ge=0)
    """Fewest words in a noised instruction."""
    window: Window = Window()
    locale: str | None = None
    """Whose English the language noiser takes up, such as `India` or `speakers of German`; null: any."""
    retries: int = Field(2, ge=0, le=5)
    """How often a noiser is asked again, and told why; then the clean instruction is kept."""
    typos: Literal["rule", "sm"] = "rule"
    """Who makes typos: a rule that needs no SM, or the SM; where what the SM makes breaks something, the rule again."""
    judge: bool = False
    """Whether the judge `same-answer` must say that the answer fits the noised instruction as well."""

    @model_validator(mode="after")
    def _in_order(self) -> Noise:
        if self.similarity is not None:
            low, high = self.similarity
            if not 0 <= low < high <= 1:
                raise misplaced(("similarity",), f"{[low, high]}", "two numbers in 0..1, the smaller one first")
        return self
