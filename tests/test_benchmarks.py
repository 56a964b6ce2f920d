"""The table of benchmarks: what a row is, that a ratio is that of works in turn, and that programs fail loudly."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import table
from support import rows
from support.rows import Row, compared, in_turn

FOLDER = Path(table.__file__).parent


def test_a_row_passes_up_to_its_target_and_a_row_without_one_is_not_judged():
    assert [Row("", "", value, 1.0).passed for value in (0.5, 1.0, 1.01)] == [True, True, False]
    assert Row("", "", 5.0).passed is None
    assert "FAIL" in table.shown(Row("copy", "memcpy", 3.0, 2.5, milliseconds=1.0))
    assert "pass" in table.shown(Row("copy", "memcpy", 2.0, 2.5))


def test_a_ratio_is_the_median_of_the_ratios_of_turns():
    timed = {"ours": [2.0, 3.0, 40.0], "theirs": [1.0, 1.0, 10.0]}  # 2, 3, 4; the machine was slow in the last turn
    row = compared("name", "peer", timed, "ours", "theirs", 2.5)
    assert (row.value, row.milliseconds, row.passed) == (3.0, 3000.0, False)
    assert compared("name", "peer", timed, "ours", "theirs", times=2).value == 1.5


def test_works_run_in_turn_and_the_first_turn_is_not_counted(monkeypatch):
    ran, clock = [], iter(range(100))
    monkeypatch.setattr(rows.time, "process_time", lambda: next(clock))
    timed = in_turn({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, budget=6.0, least=1)
    assert ran == ["a", "b"] * 4  # 2 seconds a turn: 3 turns in the budget, after the first
    assert timed == {"a": [1, 1, 1], "b": [1, 1, 1]}


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """A folder of programs in the place of tests/benchmarks."""

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(table, "PROGRAMS", tuple(f"{name}.py" for name in texts))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    return write


def test_the_table_has_the_rows_of_all_programs_and_those_of_a_failed_one_before_it_failed(
    programs, monkeypatch, tmp_path, capsys
):
    first = (
        "from support.rows import Row\ndef rows(full):\n    yield Row('full' if full else 'short', 'peer', 1.5, 2.0)\n"
    )
    programs(broken_program=first + "    1 / 0\n", last_program=first)
    file = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["table.py", "--full", "--json", str(file)])
    with pytest.raises(SystemExit, match=r"failed: broken_program.py"):
        table.main()
    found = json.loads(file.read_text())
    assert found["failed"] == ["broken_program.py"]
    memory = [row for row in found["rows"] if row["name"].startswith("memory of")]
    assert [row["name"] for row in found["rows"] if row not in memory] == ["full"] * 2
    assert [row["name"] for row in memory] == ["memory of last_program.py"]
    assert all(20 < row["value"] < 3000 for row in memory)  # megabytes of a process with torch
    printed = capsys.readouterr()
    assert "2 of 2 targets are reached" in printed.out
    assert "ZeroDivisionError" in printed.err


def test_every_program_of_the_table_is_there():
    for program in table.PROGRAMS:
        text = (FOLDER / program).read_text()
        assert ("\nrow <- function(" if program.endswith(".R") else "\ndef rows(full: bool") in text, program
