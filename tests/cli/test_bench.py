"""``rs-run bench``: what it reports; never how fast."""

import json
from pathlib import Path

from tests.cli.test_rs_run import rs_run, template

__all__ = ["rs_run", "template"]
TINY = ("--bundle", "tiny", "--threads", "1", "--provider", "cpu")


def test_json_with_machine_facts(rs_run):
    out, err = rs_run("bench", "--runs", "2", "--batch", "1,3", "--out", "b.json", "--json", *TINY)
    facts = json.loads(out)
    assert json.loads(Path("b.json").read_text()) == facts
    names = {"invert", "restyle", "restyle mixed", "synthesize plain"}
    assert set(facts["jobs"]) == {f"{name} {batch}" for name in names for batch in (1, 3)}
    for own in facts["jobs"].values():
        assert 0 < own["min_ms"] <= own["median_ms"] <= own["p95_ms"]
        assert 0 < own["median_own_ms"] < own["median_ms"]
        assert abs(own["median_ms_per_picture"] * own["batch"] - own["median_ms"]) < 0.01
    assert facts["machine"]["versions"]["numpy"] and facts["machine"]["cores"]
    assert facts["peak_memory_mb"] > 10 and facts["first_picture_memory_mb"] > 10
    assert 0 < facts["cold_start_own_s"] < facts["cold_start_s"]
    assert (facts["provider"], facts["threads"]) == ("cpu", 1)
    assert "invert, batch 3" in err


def test_lines_for_people_and_refusals(rs_run):
    out, _ = rs_run("bench", "--runs", "1", "--batch", "1", *TINY)
    assert "invert 1 " in out and "cold start" in out and "peak memory" in out
    for sizes in ("0", "x", "1,,2"):
        assert "not a list of sizes" in rs_run("bench", "--batch", sizes, *TINY, code=2)[1]
