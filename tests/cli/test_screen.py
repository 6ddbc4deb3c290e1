"""What reaches which stream."""

import json

import numpy as np

from napari_emsynth.cli.screen import Screen, complain, table


def test_json_is_strict_whatever_the_answer_holds(capsys):
    with Screen(as_json=True) as screen:
        screen.answer({"a": np.float32(1.5), "b": [np.nan, float("inf")], "c": np.arange(2), "d": {1: None}}, "text")
    assert json.loads(capsys.readouterr().out) == {"a": 1.5, "b": [None, None], "c": [0, 1], "d": {"1": None}}


def test_whatever_prints_goes_to_standard_error(capsys):
    with Screen(as_json=False) as screen:
        print("from a library")
        screen.say("worth knowing")
        screen.answer({}, "the answer")
    out, err = capsys.readouterr()
    assert out == "the answer\n"
    assert err == "from a library\nemsynth: worth knowing\n"


def test_a_note_is_kept_for_the_answer(capsys):
    with Screen(as_json=True) as screen:
        screen.note("smaller tiles")
        screen.answer({"notices": screen.notes}, "")
    assert json.loads(capsys.readouterr().out) == {"notices": ["smaller tiles"]}


def test_what_waits_is_not_said_when_the_command_is_refused(capsys):
    screen = Screen(as_json=False)
    try:
        with screen:
            screen.say("worth knowing")
            raise ValueError
    except ValueError:
        complain("refused,\n  in two lines")
    assert capsys.readouterr().err == "emsynth: refused, in two lines\n"


def test_a_log_hears_of_a_long_job_before_it_ends(capsys, monkeypatch):
    monkeypatch.setattr("napari_emsynth.cli.screen.SECONDS_UNTIL_A_JOB", 0.0)
    with Screen(as_json=False) as screen:
        screen.say("worth knowing")
        screen.progress(1, 2, "tiles")
        assert "worth knowing" in capsys.readouterr().err


def test_a_bar_is_drawn_only_for_a_person(capsys, monkeypatch):
    with Screen(as_json=False) as screen:
        screen.progress(1, 2, "tiles")
        assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Screen(as_json=False) as screen:
        screen.progress(1, 2, "tiles")
        assert "tiles" in capsys.readouterr().err


def test_columns_of_a_table_are_aligned():
    assert table(("a", "long"), [("xyz", "1")]) == "a    long\nxyz  1"
