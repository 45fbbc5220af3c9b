"""The recipe: what goes in, who works on it, and what is asked for, as checked sections with their defaults.

`recipe_file.py` reads one from YAML. Precedence: the defaults below, then the file, then `--set key=value`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from understudy.answers import Answers
from understudy.labels import Labels
from understudy.lessons import Training
from understudy.noise import Noise
from understudy.nouns import FAMILIES, address
from understudy.prompt import Granularity, Shape
from understudy.round_trip import RoundTrip
from understudy.sections import Strict, misplaced
from understudy.sms import MAIN, EmbeddedSM, SMSpec, Voice, Voices, unserved
from understudy.tables import Rows
from understudy.variety import Allocate, Monitor


class Source(Strict):
    """Where seeds are read from: a file or a folder."""

    path: str
    """File or folder, relative to the recipe."""
    kind: Literal["auto", "text", "table", "code", "persona"] = "auto"
    """`auto` goes by file name: .md .txt .html .pdf are text; .csv .jsonl .parquet and dataset folders are tables
    (or text, with `text_field`); source files are code. `persona` reads a persona set: each person is a seed."""
    text_field: str | None = None
    """For .csv, .jsonl, .parquet and dataset folders: the column that holds a document; each row is then a text
    seed."""
    chunk_tokens: int = Field(220, ge=32, le=8000)
    """Longest chunk of a document, in tokens. A table or code block is never split, so it may be longer."""
    rows_per_seed: int = Field(4, ge=1, le=50)
    """Rows shown together as one table seed; with a `rows:` block, `rows.shown` says it."""
    columns: tuple[str, ...] = ()
    """Names of the columns of .csv and .tsv files whose first line is a row already."""
    license: str = "unknown"
    """Licence of the seeds (an SPDX id where there is one); carried into the dataset card."""


class Personas(Strict):
    """Whose parts the SM plays."""

    set: str | None = "everyday"
    """A shipped set's name, or the path of a set, a YAML file or a folder; null for none."""
    inferred: float = Field(0.5, ge=0, le=1)
    """Share of drafts whose persona is inferred from the seed by a persona agent; the others draw from the set."""
    granularity: Granularity = "specific"
    """How much an inferred persona says: a profession, what the person wants as well, or why they want it too."""
    draw: Literal["uniform", "relevance", "spread"] = "uniform"
    """Who is drawn from the set: anybody; those nearest to the seed in meaning (by `dedup.embedder`), the nearest in
    its first draw; or everybody once before anybody is drawn twice."""
    shape: Shape = "zero-shot"
    """Of seeds that are personas: whether the agents are shown examples, and whose each of them is."""


class Cast(Strict):
    """Which agents work, by name; a family left out means all that can take the seed's kind."""

    persona: tuple[str, ...] | None = None
    """Who infers a persona from a seed; an empty list: nobody does."""
    transform: tuple[str, ...] | None = None
    """Who recasts a seed; leaving it as it is is always one of the choices, and with an empty list the only one."""
    instruct: tuple[str, ...] | None = None
    """Who asks; every kind of seed needs one."""
    refine: tuple[str, ...] | None = None
    """Which suggester and editor pairs may work on a draft; an empty list: none. `evolve` stands for the evolving
    operations and `principle` for the critiques by a principle, which work only if they are named."""
    answer: tuple[str, ...] | None = None
    """Who answers; every kind of seed needs one, and the one for the fewest kinds is taken."""
    noise: tuple[str, ...] | None = None
    """Who rewords instructions, in recipes with a section `noise`."""
    judge: tuple[str, ...] | None = None
    """Who must all agree before an example is accepted; an empty list: the rules alone decide."""
    skills: tuple[str, ...] | None = None
    """Which skills are asked for, as `understudy agents` lists them; null means all that a seed can feed."""
    quotas: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field({})
    """Shares of the drafts, by skill or by instruct agent, such as `{coding: 0.3, missing-information: 0.1}`; those
    not named share evenly in the rest. Without quotas, every agent that a seed can feed comes up equally often."""
    folder: str | None = None
    """A folder of your own prompt files, `<family>/<name>.md` or `<family>/<skill>/<name>.md`, added to the shipped
    ones."""

    @model_validator(mode="after")
    def _at_most_all(self) -> Cast:
        if (whole := sum(self.quotas.values())) > 1 + 1e-9:
            raise ValueError(f"quotas that add up to 1 at most, not {whole:g}")
        return self


class Budget(Strict):
    """Hard limits: reaching one ends the run with a valid corpus and says so."""

    tokens: int | None = Field(None, ge=1)
    """SM tokens, prompts and replies together."""
    seconds: float | None = Field(None, gt=0)
    """Time one sitting may take; a resumed run starts its clock anew."""
    money: float | None = Field(None, gt=0)
    """What the SMs may cost in all sittings together, by their prices in this recipe."""


Share = Annotated[float, Field(ge=0, le=1)]


class Kept(Strict):
    """Shares of a record's values that are taken from the seed's rows; the SM writes the others."""

    names: Share = 0.5
    """Of columns under `inverted.names`."""
    numbers: Share = 0.5
    """Of other values with digits in them."""
    words: Share = 0.5
    """Of all others: kinds, colours, uses. A small SM makes up few that are true; for one, 1 is best."""


def _kept_alike(value: Any) -> Any:
    """One number is for values of all kinds."""
    if isinstance(value, int | float):
        return dict.fromkeys(Kept.model_fields, value)
    if not isinstance(value, dict | Kept):
        raise PydanticCustomError("kept", "a number from 0 to 1, or one each for `names`, `numbers` and `words`")
    return value


class Inverted(Strict):
    """Tables the other way round: a record is written first, then the text that it stands in."""

    text: str
    """The column of the text."""
    given: tuple[str, ...] = ()
    """Columns that whoever extracts is told; all others are what is to be found in the text."""
    names: tuple[str, ...] = ()
    """Columns of names, such as brands, people or places: those that the SM writes are none of the seed's rows."""
    kept: Annotated[Kept, BeforeValidator(_kept_alike, json_schema_input_type=Share | Kept)] = Kept()
    """Share of a record's values that are taken from the seed's rows: one number for all, or one for each kind."""

    @model_validator(mode="after")
    def _told_apart(self) -> Inverted:
        if self.text in self.given:
            raise misplaced(("given",), self.text, "columns other than `text`")
        if told := next((name for name in self.names if name in {self.text, *self.given}), None):
            raise misplaced(("names",), told, "columns other than `text` and `given`")
        return self


class Dedup(Strict):
    """The gate: near-duplicates are met before refinement is paid for."""

    minhash: float | None = Field(0.9, gt=0, le=1)
    """Jaccard similarity of word 1-grams above which two instructions are one; null switches this pass off."""
    embedding: float | None = Field(0.9, gt=0, le=1)
    """Cosine similarity above which two instructions are one; null switches this pass off."""
    embedder: str = "embedded"
    """`embedded` (MiniLM), `hashing` (character n-grams, no model), or the folder of a sentence-transformers model."""
    against: tuple[str, ...] = ()
    """Earlier corpus folders whose instructions count as taken."""


class Verify(Strict):
    """The rules every example must pass; the judges stand under `agents.judge`."""

    min_words: int = Field(3, ge=0)
    """Fewest words in an answer."""
    max_words: int = Field(400, ge=1)
    """Most words in an answer."""
    min_grounding: float | None = Field(0.25, ge=0, le=1)
    """Least share of content words, of a passage, an instruction or an answer, that occur in what it was made from;
    null switches these rules off."""
    min_evidence: float | None = Field(None, ge=0, le=1)
    """Least share of an answer's content words that must stand near one another in what it was made from; that part
    is kept as its evidence. Null switches this rule off; 0.6 suits answers taken from documents."""

    @model_validator(mode="after")
    def _in_order(self) -> Verify:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words of at most max_words, which is {self.max_words}")
        return self


# Keys that say how much is made, how fast and what for, not what it is like.
_AROUND = ("accept", "budget", "in_flight", "training", "name", "license", "draws_per_seed", "review", "monitor")


# Keys that came after the first release, with what was done before there were any.
_LATER: tuple[tuple[str, str, Any], ...] = (
    ("personas", "granularity", "specific"),
    ("personas", "draw", "uniform"),
    ("personas", "shape", "zero-shot"),
    ("agents", "skills", None),
    ("agents", "quotas", {}),
    ("agents", "noise", None),
    ("verify", "min_evidence", None),
)


# Sections of which a recipe has one at most, each with the agent that works with it.
_BEGINS = {"rows": "more-rows", "labels": "text-for-label", "answers": "question-for-answer"}


class Recipe(Strict):
    """From seeds to a VM, in one file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    """What the corpus is called."""
    seeds: tuple[Source, ...] = Field(min_length=1)
    accept: int = Field(ge=1)
    """How many accepted examples the run is to end with."""
    draws_per_seed: int = Field(4, ge=1, le=1000)
    """Most drafts that may be tried from one seed before the run gives up on `accept`."""
    budget: Budget = Budget()
    sm: SMSpec = EmbeddedSM()
    sms: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], SMSpec] = Field({})
    """Further SMs by name: a stronger or a cheaper one, for `voices` to call upon."""
    voices: dict[str, Voices] = Field({})
    """Who speaks for a family of agents (`judge`) or for one agent (`judge/faithful`), and how; of several voices,
    each draft draws one. Whoever is not named here speaks with `sm`, as its prompt file says."""
    personas: Personas = Personas()
    agents: Cast = Cast()
    refine_rounds: int = Field(1, ge=0, le=8)
    """Most rounds of refinement on one draft."""
    candidates: int = Field(1, ge=1, le=16)
    """Answers drawn to each instruction. The best is kept, by rules and by judges who compare two answers in both
    orders; the others stay on record for preference data."""
    dedup: Dedup = Dedup()
    verify: Verify = Verify()
    inverted: Inverted | None = None
    """For instruct agents that write a record and then its text (`record-to-text`): which column is the text."""
    noise: Noise | None = None
    """Instructions reworded as real users might put them; null: they stay as the agents wrote them."""
    allocate: Allocate | None = None
    """Drafts shared out among several voices by what each adds; null: every draft draws one, all with equal chance."""
    monitor: Monitor | None = None
    """A look at every batch of drafts, with alarms; null: nobody looks."""
    rows: Rows | None = None
    """For new rows of a table: what they are of, and what they must keep to. Works with the agent `more-rows`; unless
    the recipe says otherwise nobody else works, nothing is embedded, and no seed goes to the test split: real rows
    are held out instead."""
    labels: Labels | None = None
    """For texts with labels: what is asked of them, and which labels there are in which shares. Works with the agent
    `text-for-label`; unless the recipe says otherwise, nobody else works but those who say which label a text has."""
    answers: Answers | None = None
    """For questions whose answers are drawn from the seed before them: which kinds of answers, in which shares. Works
    with the agent `question-for-answer`; unless the recipe says otherwise, nobody else works but those who answer."""
    review: float = Field(0.0, ge=0, le=1)
    """Share of the accepted examples that people are to review in `understudy traces`; 1 is every one. Training and
    export leave out what is to be reviewed and is not yet; the run's next sitting makes up for what people rejected."""
    test_share: float = Field(0.2, ge=0, lt=1)
    """Share of seeds whose examples go to the test split."""
    license: str = "other"
    """Licence of the corpus; the card lists those of seeds and models beside it."""
    seed: int = 0
    """Random seed of the run's plan and of every call."""
    in_flight: int | None = Field(None, ge=1, le=8192)
    """Drafts under way at once; null means twice what the engines can work on. Memory grows with it; the corpus does
    not depend on it."""
    training: Training = Training()

    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="before")
    @classmethod
    def _for_a_section(cls, data: Any) -> Any:
        """Defaults of a recipe that begins with rows, labels or answers: the work of other agents would spoil them."""
        section = next((one for one in _BEGINS if isinstance(data, dict) and data.get(one) is not None), None)
        if section is None:
            return data
        cast = {"persona": (), "transform": (), "instruct": (_BEGINS[section],), "refine": (), "judge": ()}
        given, dedup = data.get("agents"), data.get("dedup")
        if given is None or isinstance(given, dict):
            data = {**data, "agents": {**cast, **(given or {})}}
        if section == "rows":  # gates and splits are for texts
            data = {"test_share": 0, **data}
            if dedup is None or isinstance(dedup, dict):
                data["dedup"] = {"embedding": None, **(dedup or {})}
        return data

    @model_validator(mode="after")
    def _one_beginning(self) -> Recipe:
        there = [section for section in _BEGINS if getattr(self, section) is not None]
        if there and (others := [one for one in (*there[1:], "inverted") if getattr(self, one) is not None]):
            raise misplaced((others[0],), "a section", f"nothing beside `{there[0]}`")
        if there and there[0] != "rows" and self.noise is not None:
            raise misplaced(("noise",), "a section", f"nothing beside `{there[0]}`")
        return self

    @model_validator(mode="after")
    def _rows_alone(self) -> Recipe:
        if self.rows is not None:
            if self.test_share:
                raise misplaced(("test_share",), f"{self.test_share:g}", "0: `rows.holdout` says which real rows test")
            if len(self.seeds) > 1 or self.seeds[0].kind not in {"auto", "table"}:
                raise misplaced(("seeds",), f"{len(self.seeds)} sources", "one source of kind `table` beside `rows`")
        return self

    @model_validator(mode="after")
    def _known_voices(self) -> Recipe:
        if MAIN in self.sms:
            raise misplaced(("sms", MAIN), MAIN, f"another name: `{MAIN}` is that of the `sm:` section")
        for speaker, voices in self.voices.items():
            if speaker.partition("/")[0] not in FAMILIES:
                raise misplaced(("voices", speaker), speaker, f"a family ({', '.join(FAMILIES)}) or family/agent")
            for place, voice in enumerate(voices):
                if voice.sm not in self.engines:
                    known = f"one of: {', '.join(self.engines)}"
                    raise misplaced(("voices", speaker, place, "sm"), voice.sm, known)
        return self

    @model_validator(mode="after")
    def _something_to_allocate(self) -> Recipe:
        if (how := self.allocate) is not None:
            if how.of not in self.voices:
                raise misplaced(("allocate", "of"), how.of, f"one of: {', '.join(self.voices) or 'no key'} (`voices`)")
            if len(self.voices[how.of]) * max(1, len(how.filters)) < 2:
                raise misplaced(("allocate", "of"), how.of, "one with several voices, or several `filters`")
            for place, one in enumerate(how.filters):
                least = self.verify.min_words if one.min_words is None else one.min_words
                most = self.verify.max_words if one.max_words is None else one.max_words
                if least > most:
                    got = f"min_words {least}, max_words {most}"
                    raise misplaced(("allocate", "filters", place), got, "min_words of at most max_words")
        return self

    @property
    def round_trip(self) -> RoundTrip | None:
        """How what was drawn first is to be found again; None where nothing was."""
        return self.labels or self.answers

    @property
    def targets(self) -> dict[str, float]:
        """The labels or kinds of answers that drafts are for, each with its share of the accepted ones."""
        return self.labels.values if self.labels else self.answers.kinds if self.answers else {}

    @property
    def engines(self) -> dict[str, SMSpec]:
        """Every SM of the recipe by its name, the main one first."""
        return {MAIN: self.sm, **self.sms}

    def voices_of(self, agent: str) -> tuple[Voice, ...]:
        """The voices of an agent, named as `family/name`: its own, else its family's, else that of the main SM."""
        return self.voices.get(agent) or self.voices.get(agent.partition("/")[0]) or (Voice(),)

    @property
    def folder(self) -> Path:
        """The recipe's own folder: what relative paths are relative to."""
        return self._folder

    def at(self, folder: Path) -> Recipe:
        """The same recipe, with its relative paths taken from `folder`."""
        moved = self.model_copy()
        moved._folder = folder
        return moved

    def path(self, relative: str) -> Path:
        """A path of the recipe, resolved against the recipe's own folder."""
        return self.folder / Path(relative).expanduser()

    @property
    def plan_version(self) -> str:
        """Hash of all that changes the corpus: a run is resumed only under the same one.

        What does not change it (prices, concurrency, limits, the goal, training) is left out, and so is
        where a model is served.
        """
        body = self.model_dump(
            mode="json",
            exclude=set(_AROUND),
        )
        for section, key, later in _LATER:
            if body[section][key] == later:
                del body[section][key]
        if self.candidates == 1:  # what was done before there was a choice
            del body["candidates"]
        for section in ("inverted", "noise", "allocate", *_BEGINS):
            if body[section] is None:
                del body[section]
        for source in body["seeds"]:
            if not source["columns"]:
                del source["columns"]
        body |= {"sm": unserved(self.sm), "sms": {name: unserved(spec) for name, spec in self.sms.items()}}
        return address(body)


def schema() -> dict[str, Any]:
    """The recipe's JSON schema, for editors; the reference page is made from it too."""
    body = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}
