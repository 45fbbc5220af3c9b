from pathlib import Path
from typing import get_args

import pytest

from understudy.agents import REPLIES, Agent, load_catalog, load_skills
from understudy.agents.catalog import shipped
from understudy.errors import PromptError
from understudy.nouns import FAMILIES, Kind, Seed
from understudy.prompt import Prompt, Situation
from understudy.recipe import Cast

SEEDS = {kind: Seed.of(kind, f"{kind} {{{{ 7*7 }}}} material", "a:1") for kind in get_args(Kind)}
VALUES = {
    "persona": "A baker.",
    "instruction": "What is dough?",
    "answer": "Flour and water.",
    "other": "Why?",
    "wanted": "rain with place",
    "conversation": "",
    "results": "",
    "suggestion": "Say more.",
    "granularity": "specific",
    "relation": "works beside this person",
    "topic": "",
    "strength": "slightly",
    "protected": "240 degrees",
    "neighbours": "The oven is hot.",
    "locale": "",
    "missed": "number 240 lost",
    "task": "Is the baker glad?",
    "text": "a note of a baker",
    "values": {"glad": "the baker sings", "sad": ""},
    "label": "glad",
    "meaning": "the baker sings",
    "sentence": "Dough is made of flour and water.",
    "length": "one sentence",
}
FILES = sorted(path for family in FAMILIES for path in (shipped() / family).rglob("*.md"))


def prompt_file(
    folder: Path, family: str, name: str, *, head: str = "reply: Instruction\n", task: str = "Ask."
) -> Path:
    path = folder / family / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nname: {name}\nfamily: {family}\nsummary: Does it.\n{head}---\n{task}\n")
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_prompt_renders_for_each_kind_with_and_without_a_persona(path: Path):
    prompt = Prompt.load(path)
    for kind in prompt.kinds:
        for persona in ("A baker.", ""):
            for editor in {False, prompt.editor is not None}:
                messages = Agent(prompt, "S").messages(
                    SEEDS[kind], None, editor=editor, **VALUES | {"persona": persona}
                )
                task = messages[1]["content"].removeprefix(SEEDS[kind].content)
                assert task.strip() and not {"{{", "{%"} & set(task.split()) and task == task.rstrip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_prompt_file_says_what_it_does_and_where_the_idea_is_from(path: Path):
    prompt = Prompt.load(path)
    assert prompt.summary.endswith(".") and prompt.name == path.stem
    assert prompt.source or prompt.family == "answer"


def test_every_file_among_the_shipped_prompts_is_an_agent_or_shared():
    stray = {path for path in shipped().rglob("*") if path.is_file()} - set(FILES)
    assert stray == {shipped() / "shared" / "system.md"}


@pytest.mark.parametrize("kind", ["text", "table", "code"])
def test_each_kind_of_seed_has_agents_in_every_family(kind: str):
    catalog = load_catalog()
    assert all(catalog.of(family, kind) for family in FAMILIES)  # type: ignore[arg-type]


def test_a_passage_follows_the_seed():
    agent = load_catalog().agents["answer"][0]
    user = agent.messages(SEEDS["text"], "A passage.", **VALUES)[1]["content"]
    assert user.startswith(f"{SEEDS['text'].content}\n\nRewritten:\nA passage.\n\n")


def test_only_the_most_particular_answerers_answer():
    catalog = load_catalog()
    assert [agent.name for agent in catalog.of("answer", "code")] == ["answer/answer-code"]
    assert [agent.name for agent in catalog.of("answer", "text")] == ["answer/answer"]


def test_a_cast_narrows_a_family_to_its_names():
    catalog = load_catalog(Cast(judge=("faithful",), refine=()))
    assert [agent.prompt.name for agent in catalog.agents["judge"]] == ["faithful"]
    assert catalog.agents["refine"] == ()
    assert len(catalog.agents["instruct"]) == len(load_catalog().agents["instruct"])


def test_an_unknown_agent_is_named_with_the_one_that_was_meant():
    with pytest.raises(PromptError) as caught:
        load_catalog(Cast(judge=("faithfull",)))
    assert caught.value.message == "no judge agent is called `faithfull`"
    assert caught.value.where == "agents.judge"
    assert caught.value.remedy == "did you mean `faithful`?"
    assert "clear" in str(caught.value.expected)


def test_an_unknown_agent_like_no_other_can_be_added_as_a_file():
    with pytest.raises(PromptError) as caught:
        load_catalog(Cast(judge=("zzz",)))
    assert caught.value.remedy == "add a prompt file judge/zzz.md"


def test_a_family_that_the_graph_needs_cannot_be_empty():
    with pytest.raises(PromptError) as caught:
        load_catalog(Cast(instruct=("why-question",))).check({"text", "code"}, ("instruct", "answer"))
    assert caught.value.message == "no instruct agent takes code seeds"
    assert caught.value.where == "agents.instruct"
    load_catalog(Cast(instruct=("code-bug",))).check({"code"}, ("instruct", "answer"))


def test_one_file_in_a_user_s_folder_is_one_more_agent(tmp_path: Path):
    prompt_file(tmp_path, "instruct", "quiz")
    before, after = load_catalog(), load_catalog(folder=tmp_path)
    assert {a.name for a in after} - {a.name for a in before} == {"instruct/quiz"}
    assert [a.name for a in load_catalog(Cast(instruct=("quiz",)), tmp_path).agents["instruct"]] == ["instruct/quiz"]
    assert before.version != after.version


def test_a_user_s_file_replaces_the_shipped_agent_of_its_name(tmp_path: Path):
    prompt_file(tmp_path, "judge", "clear", head="reply: Judgement\n", task="My own words.")
    judges = {agent.prompt.name: agent for agent in load_catalog(folder=tmp_path).agents["judge"]}
    assert judges["clear"].prompt.task == "My own words."
    assert len(judges) == len(load_catalog().agents["judge"])


def test_a_folder_of_prompts_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(PromptError) as caught:
        load_catalog(folder=tmp_path / "none")
    assert caught.value.where == str(tmp_path / "none")
    assert "agents.folder" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("name: quiz", "name: quizz", "name"),
        ("family: instruct", "family: transform", "family"),
        ("reply: Instruction", "reply: Essay", "reply"),
        ("reply: Instruction", "reply: Judgement", "reply"),
    ],
    ids=["name", "family", "no such reply", "another family's reply"],
)
def test_a_file_that_contradicts_its_place_is_refused(tmp_path: Path, old: str, new: str, field: str):
    path = prompt_file(tmp_path, "instruct", "quiz")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(PromptError) as caught:
        load_catalog(folder=tmp_path)
    assert caught.value.where == f"{path}: {field}"


def test_an_agent_that_is_edited_while_the_process_lives_is_read_again(tmp_path: Path):
    path = prompt_file(tmp_path, "instruct", "quiz", task="First words.")
    first = load_catalog(folder=tmp_path).version
    path.write_text(path.read_text().replace("First words.", "Second words."))
    assert load_catalog(folder=tmp_path).version != first


def test_every_reply_type_serves_a_family_and_every_family_has_one():
    assert {family for reply in REPLIES.values() for family in reply.families} == set(FAMILIES)


def leaves(skill: str) -> list[str]:
    return [agent.prompt.name for agent in load_catalog().agents["instruct"] if agent.prompt.skill == skill]


def test_the_skills_are_the_paper_s_seventeen():
    assert len(load_skills()) == 17


@pytest.mark.parametrize("skill", sorted(set(load_skills()) - {"reading-comprehension", "text-modification"}))
def test_a_skill_has_eight_leaves_at_least(skill: str):
    assert len(leaves(skill)) >= 8


def test_reading_and_modification_have_as_many_leaves_as_in_the_paper():
    assert (len(leaves("reading-comprehension")), len(leaves("text-modification"))) == (43, 18)
    transforms = [one for one in load_catalog().agents["transform"] if one.prompt.skill == "reading-comprehension"]
    assert len(transforms) == 8  # and leaving the text as it is


def test_tools_come_from_two_builders_and_are_asked_for_in_seven_situations():
    asking = load_catalog().agents["instruct"]
    situations = [one.prompt.situation for one in asking if one.prompt.situation]
    assert sorted(situations) == sorted(get_args(Situation)) and len(situations) == 7
    builders = [one for one in load_catalog().agents["transform"] if one.prompt.skill == "tool-use"]
    assert len(builders) == 2


def test_a_new_skill_with_two_leaves_is_files_only(tmp_path: Path):
    (tmp_path / "skills.yaml").write_text("gardening: Grow things.\n")
    for name in ("when-to-sow", "what-to-feed"):
        prompt_file(tmp_path, "instruct/gardening", name, head="skill: gardening\nreply: Instruction\n")
        text = (tmp_path / "instruct" / "gardening" / f"{name}.md").read_text()
        (tmp_path / "instruct" / "gardening" / f"{name}.md").write_text(
            text.replace("family: instruct/gardening", "family: instruct")
        )
    catalog = load_catalog(Cast(skills=("gardening",)), tmp_path)
    assert [agent.prompt.name for agent in catalog.agents["instruct"]] == ["what-to-feed", "when-to-sow"]
    assert load_skills(tmp_path)["gardening"] == "Grow things."


def test_a_skill_that_nobody_knows_is_told_with_the_one_that_was_meant(tmp_path: Path):
    with pytest.raises(PromptError, match=r"agents.skills: no skill is called `codding`(.|\n)*did you mean `coding`"):
        load_catalog(Cast(skills=("codding",)))
    prompt_file(tmp_path, "instruct", "dig", head="skill: zzz\nreply: Instruction\n")
    with pytest.raises(PromptError, match=r"dig.md: skill: no skill is called `zzz`(.|\n)*skills.yaml"):
        load_catalog(folder=tmp_path)


@pytest.mark.parametrize("text", ["- gardening", "gardening: [a]", "gardening: 3", "a: [b"])
def test_a_bad_list_of_skills_is_named(tmp_path: Path, text: str):
    (tmp_path / "skills.yaml").write_text(text)
    with pytest.raises(PromptError, match=r"skills.yaml: not "):
        load_catalog(folder=tmp_path)


def test_two_files_of_one_name_are_an_error(tmp_path: Path):
    prompt_file(tmp_path, "instruct", "dig", head="skill: coding\nreply: Instruction\n")
    (tmp_path / "instruct" / "coding").mkdir()
    (tmp_path / "instruct" / "coding" / "dig.md").write_text((tmp_path / "instruct" / "dig.md").read_text())
    with pytest.raises(PromptError, match="another file has this name"):
        load_catalog(folder=tmp_path)


def test_a_file_lies_in_the_folder_of_its_skill(tmp_path: Path):
    prompt_file(tmp_path, "instruct", "dig")
    (tmp_path / "instruct" / "coding").mkdir()
    (tmp_path / "instruct" / "dig.md").rename(tmp_path / "instruct" / "coding" / "dig.md")
    with pytest.raises(PromptError, match=r"dig.md: skill: got `none`(.|\n)*expected: `coding`"):
        load_catalog(folder=tmp_path)


def test_who_answers_for_a_skill_answers_there_alone():
    catalog = load_catalog()
    assert [agent.name for agent in catalog.of("answer", "text", "fermi")] == ["answer/estimate"]
    assert [agent.name for agent in catalog.of("answer", "text", "rag")] == ["answer/answer"]
    assert [agent.name for agent in catalog.of("answer", "code", "fermi")] == ["answer/answer-code"]
    recast = {agent.prompt.name for agent in catalog.of("transform", "text", "reading-comprehension")}
    assert recast - {agent.prompt.name for agent in catalog.of("transform", "text", "rag")} >= {"poem", "satire"}
