"""The comment on a pull request: what changes, which policies are broken, what it costs, all readable."""

from pathlib import Path

from stacks.review import DIFFERENCES_CHARACTERS_MAX, MARK, Preview, comment, cut, fenced, read_previews
from tests.house.files import ROOT

# What `pulumi preview` prints of a change, of a broken policy, and of a program that fails.
CHANGED = """Previewing update (dev):
    pulumi:pulumi:Stack rates-dev running
 ~  aws:rds:Instance rates-dev-database update [diff: ~instanceClass]

Policies:
    ✅ rates@v0.0.1 (local: infra/policy_pack)

Resources:
    ~ 1 to update
    + 2 to create
    51 unchanged
"""
BROKEN = """Previewing update (prod):

Policies:
    ❌ rates@v0.0.1 (local: infra/policy_pack)
        - [mandatory]  keys-rotate  (aws:kms:Key: rates-prod-logs)
          Keys rotate
          it does not
        - [advisory]  names  (aws:kms:Key: rates-prod-logs)
          Names
          it has one

Diagnostics:
  pulumi:pulumi:Stack (rates-prod):
    error: preview failed

Resources:
    + 1 to create
"""
FAILED = """Previewing update (staging):

Diagnostics:
  pulumi:pulumi:Stack (rates-staging):
    error: the configuration of stack staging cannot be used:
      rates:zones is '9': allowed is 2 to 4

"""
NOTHING = "Previewing update (dev):\n\nResources:\n    54 unchanged\n"


def test_a_stack_is_one_line_of_what_changes_and_how_the_policies_do() -> None:
    text = comment([Preview("dev", CHANGED, "the difference", "0")], "| costs |", "abc123")

    assert text.startswith(MARK)
    assert "What abc123 would change" in text
    assert "| dev | 1 to update, 2 to create | all kept |" in text
    assert "| costs |" in text
    assert "<details><summary>dev: the whole difference</summary>\n\n```\nthe difference\n```" in text


def test_a_stack_that_stays_as_it_is_says_so() -> None:
    assert Preview("dev", NOTHING, "", "0").changes == "nothing changes"


def test_a_broken_policy_is_counted_in_the_line_and_told_below() -> None:
    text = comment([Preview("prod", BROKEN, "", "255")], "", "abc123")

    assert "| prod | 1 to create | **broken: 1 mandatory, 1 advisory** |" in text
    assert "**prod: policies**" in text
    assert "keys-rotate  (aws:kms:Key: rates-prod-logs)" in text
    assert "preview failed" in text


def test_policies_that_hold_and_warnings_take_no_room() -> None:
    assert "dev: policies" not in comment([Preview("dev", CHANGED, "", "0")], "", "abc123")


def test_a_preview_that_fails_says_why() -> None:
    text = comment([Preview("staging", FAILED, "", "255")], "", "abc123")

    assert "| staging | **the preview failed** | none run |" in text
    assert "**staging: diagnostics**" in text
    assert "rates:zones is '9': allowed is 2 to 4" in text


def test_a_stack_without_a_role_is_not_previewed_and_says_which_variable_is_missing() -> None:
    text = comment([Preview("staging", "", "", "")], "", "abc123")

    assert "| staging | not previewed: the variable PREVIEW_ROLE_STAGING names no role | none run |" in text
    assert "<details>" not in text


def test_the_comment_fits_what_github_takes_and_says_what_it_leaves_out() -> None:
    long = "\n".join(f"line {number} of a difference" for number in range(100_000))
    text = comment([Preview(stack, CHANGED, long, "0") for stack in ("dev", "staging", "prod")], "", "abc123")

    assert len(text) < 65_536
    assert text.count("more lines, in the log of the run") == 3


def test_a_difference_is_cut_between_two_lines() -> None:
    assert cut("one\ntwo\nthree", 8) == "one\ntwo\n… 1 more lines, in the log of the run"
    assert cut("one\ntwo\nthree", DIFFERENCES_CHARACTERS_MAX) == "one\ntwo\nthree"


def test_nothing_in_a_difference_ends_its_block() -> None:
    assert fenced("a ```` b") == "`````\na ```` b\n`````"


def test_the_previews_are_read_from_where_the_workflow_leaves_them(tmp_path: Path) -> None:
    for name, text in {
        "staging.status": "",
        "dev.status": "0\n",
        "dev.txt": CHANGED,
        "dev.diff.txt": "difference",
    }.items():
        (tmp_path / name).write_text(text)

    assert read_previews(tmp_path) == [
        Preview("dev", CHANGED, "difference", "0"),
        Preview("staging", "", "", ""),
    ]


def test_the_workflow_finds_the_comment_by_the_line_that_it_starts_with() -> None:
    assert f'startswith("{MARK}")' in (ROOT / ".github/workflows/preview.yml").read_text()
