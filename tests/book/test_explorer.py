"""The explorer computes in the browser what `clcore.theory` computes in Python."""

import json
import math
import re
import shutil
from html import unescape
from pathlib import Path

import bokeh
import nbformat
import numpy as np
import pytest

from clcore.errors import InputError
from clcore.theory import Problem, Update, expected_risks, forgetting, generalization_error
from tests.book.browsing import serving

ROOT = Path(__file__).parents[2]
FILES = [
    *(ROOT / "book/_ext/explorer" / name for name in ("explorer.css", "recursion.js")),
    ROOT / "book/_ext/explorer/explorer.js",
    Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js",
]
U, Q = 0, 1
EVERYTHING = Update((U, Q))
RANGES = {
    "n": (2, 400),
    "P": (160, 600),
    "m": (1, 150),
    "noise": (0, 1.5),
    "du": (0, 4),
    "dq": (0, 4),
    "gu": (0, 1),
    "gq": (0, 1),
}
STEPS = {"n": 1, "P": 1, "m": 1, "noise": 0.05, "du": 0.05, "dq": 0.05, "gu": 0.01, "gq": 0.01}
AXES = {"gains": "gu", "m": "m", "n": "n", "du": "du", "dq": "dq"}
# Rounding is of the order of 1e-15; differences of nearly equal numbers multiply it.
CLOSE = 1e-10
BAD = ("error", "warning")
SET = """(settings) => {
  for (const [name, value] of Object.entries(settings)) {
    document.getElementById(`explorer-${name}`).value = value;
  }
  document.getElementById("explorer").dispatchEvent(new Event("input"));
}"""
TABLE = """() => Object.fromEntries(
  [...document.querySelectorAll("#explorer tr[data-update]")].map((row) => [
    row.dataset.update,
    [...row.querySelectorAll("data")].map((cell) => cell.value),
  ])
)"""
SHOWN = """async () => Object.fromEntries(
  Object.entries(await explorer.ready).map(([panel, plot]) => [
    panel,
    plot.renderers.map(({name, glyph, data_source: {data}}) =>
      [name, glyph.type, [...data.x], [...data[`${panel} ${name}`]]]),
  ])
)"""


def stored_settings():
    """Return what the notebook hands to the explorer: named slider positions."""
    stored = nbformat.read(ROOT / "notebooks/explorer.ipynb", as_version=4)
    shown = "".join(
        output.data.get("text/html", "")
        for cell in stored.cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    return json.loads(unescape(re.search(r"data-settings='([^']*)'", shown)[1]))


TRIES = stored_settings()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    for file in FILES:
        shutil.copyfile(file, folder / file.name)
    scripts = "".join(
        f"<script defer src='{name}'></script>"
        for name in ("bokeh.min.js", "recursion.js", "explorer.js")
    )
    (folder / "index.html").write_text(
        "<!doctype html><html lang='en' data-theme='light'><title>Explorer</title>"
        "<link rel='icon' href='data:,'>"
        f"<link rel='stylesheet' href='explorer.css'>{scripts}"
        f"<div id='explorer' data-settings='{json.dumps(TRIES)}'></div>"
        "<figure id='fig-explorer'>still</figure></html>",
        encoding="utf-8",
    )
    with serving(folder) as found:
        yield found


@pytest.fixture
def page(address, browser):
    opened = browser.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: said.type in BAD and errors.append(said.text))
    opened.goto(address)
    opened.evaluate("async () => { await explorer.ready; }")
    yield opened
    opened.close()
    assert errors == []


def set_sliders(page, settings):
    """Put the sliders to `settings`; return the table: update → numbers, NaN where frozen."""
    page.evaluate(SET, {name: settings[name] for name in RANGES})
    return read_table(page)


def read_table(page):
    shown = page.evaluate(TABLE)
    return {name: [float(cell or "nan") for cell in row] for name, row in shown.items()}


def problem(s):
    distances = [[[0, d], [d, 0]] for d in (s["du"], s["dq"])]
    return Problem([s["P"] - s["m"], s["m"]], distances, np.ones((2, 2)), s["n"], s["noise"])


def outcome(s, update):
    """Forgetting and generalization error; NaN where clcore.theory refuses: infinite."""
    try:
        risks = expected_risks(problem(s), [EVERYTHING, update])
    except InputError:
        return [math.nan, math.nan]
    return [float(forgetting(risks)[0]), generalization_error(risks)]


def best_outcome(s):
    """Outcome of the best parts and gains: a block's mean risk is a parabola in its gain."""
    found = []
    for parts in ((U,), (Q,), (U, Q)):
        if math.isnan(outcome(s, Update(parts))[0]):
            continue
        at = [expected_risks(problem(s), [EVERYTHING, Update(parts, g)])[2] for g in (0, 0.5, 1)]
        zero, half, one = (risks[list(parts)].mean(axis=1) for risks in at)
        bend = 2 * (zero - 2 * half + one)
        gains = [
            np.clip((z - o + b) / (2 * b), 0, 1) if b > 1e-13 else 0.0
            for z, o, b in zip(zero, one, bend, strict=True)
        ]
        found.append(outcome(s, Update(parts, gains)))
    return min(found, key=lambda one: one[1], default=[math.nan, math.nan])


def reference(s):
    return {
        "frozen": outcome(s, Update((Q,))),
        "initialized": outcome(s, EVERYTHING),
        "optimal": best_outcome(s),
        "yours": outcome(s, Update((U, Q), (s["gu"], s["gq"]))),
    }


def deviation(found, expected):
    """Largest difference, relative above 1; infinite where only one of the two is NaN."""
    found, expected = np.array(found), np.array(expected)
    if (np.isnan(found) != np.isnan(expected)).any():
        return math.inf
    known = ~np.isnan(expected)
    return np.max(
        np.abs(found - expected)[known] / np.maximum(1, np.abs(expected[known])), initial=0
    )


def table_deviation(table, s):
    return max(deviation(table[name][2:], row) for name, row in reference(s).items())


def positions(count, seed):
    """Random slider positions; every third has n within two of m or of P, around the peaks."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        s = {}
        for name, (low, high) in RANGES.items():
            place = rng.integers(round((high - low) / STEPS[name]) + 1)
            s[name] = round(low + float(place) * STEPS[name], 2)
        s |= {name: int(s[name]) for name in ("n", "P", "m")}
        if i % 3 == 2:
            near = s["m"] if i % 2 else s["P"]
            s["n"] = int(np.clip(near + rng.integers(-2, 3), 2, 400))
        yield s


def test_sliders_have_the_ranges_of_this_test(page):
    read = """(name) => { const {min, max, step} = document.getElementById(`explorer-${name}`);
      return [min, max, step].map(Number); }"""
    for name, (low, high) in RANGES.items():
        assert page.evaluate(read, name) == [low, high, STEPS[name]]


def test_random_positions_agree_with_the_theory(page):
    worst = 0.0
    for s in positions(300, seed=1):
        found = table_deviation(set_sliders(page, s), s)
        assert found < CLOSE, s
        worst = max(worst, found)
    print(f"largest deviation: {worst:.1e}")
    assert worst > 0  # the comparison compares


def test_curves_agree_with_the_theory(page):
    rng = np.random.default_rng(2)
    for s in positions(20, seed=3):
        for axis, name in AXES.items():
            curves = page.evaluate("([s, axis]) => explorer.curves(s, axis)", [s, axis])
            low, high = RANGES[name]
            assert (curves["x"][0], curves["x"][-1]) == (low, high)
            for i in rng.integers(len(curves["x"]), size=3):
                x = curves["x"][i]
                moved = s | ({"gu": x, "gq": x} if axis == "gains" else {axis: x})
                for update, expected in reference(moved).items():
                    found = [curves[f"{panel} {update}"][i] for panel in ("forgetting", "error")]
                    assert deviation(found, expected) < CLOSE, (moved, axis)


@pytest.mark.parametrize("axis", AXES)
def test_what_is_drawn_is_what_was_computed(page, axis):
    s = dict(TRIES["Start"], m=70, du=1.0, gu=0.25, gq=0.25)
    page.select_option("#explorer-axis", axis)
    table = set_sliders(page, s)
    curves = page.evaluate("([s, axis]) => explorer.curves(s, axis)", [s, axis])
    for column, (panel, drawn) in enumerate(page.evaluate(SHOWN).items(), 2):
        assert [kind for _, kind, _, _ in drawn] == ["Line"] * 4 + ["Scatter"] * 4
        for name, kind, x, y in drawn:
            if kind == "Line":
                np.testing.assert_array_equal(x, curves["x"])
                np.testing.assert_array_equal(y, curves[f"{panel} {name}"])
            else:
                assert (x, y) == ([s[AXES[axis]]], [table[name][column]])


@pytest.mark.parametrize("title", TRIES)
def test_buttons_set_the_sliders(page, title):
    page.get_by_role("button", name=title, exact=True).click()
    s = TRIES[title]
    for name in RANGES:
        assert float(page.input_value(f"#explorer-{name}")) == s[name]
    assert page.input_value("#explorer-axis") == s["axis"]
    assert table_deviation(read_table(page), s) < CLOSE


def test_it_starts_where_the_notebook_does(page):
    assert table_deviation(read_table(page), TRIES["Start"]) < CLOSE
    for name in RANGES:
        assert float(page.input_value(f"#explorer-{name}")) == TRIES["Start"][name]


def test_no_gains_beat_the_optimal_ones(page):
    grid = np.linspace(0, 1, 9)
    for s in positions(6, seed=4):
        best = set_sliders(page, s)["optimal"][3]
        for gu in grid:
            for gq in grid:
                for update in (Update((U, Q), (gu, gq)), Update((U,), gu), Update((Q,), gq)):
                    assert not outcome(s, update)[1] < best - 1e-12 * max(1, best)


def test_infinite_risks_are_gaps_and_said_in_words(page):
    warning = page.get_by_role("status")
    start = TRIES["Start"]
    for n in (39, 40, 41):
        table = set_sliders(page, start | {"n": n, "m": 40})
        assert all(math.isnan(value) for value in table["frozen"][2:])
        assert all(math.isfinite(table[name][3]) for name in ("initialized", "optimal", "yours"))
        assert f"m = 40 and n = {n} differ by at most one" in warning.inner_text()
        assert page.locator("tr[data-update=frozen]").inner_text().count("infinite") == 2
    table = set_sliders(page, start | {"n": 300, "P": 300})
    assert all(math.isnan(row[3]) for row in table.values())
    assert "P = 300 and n = 300" in warning.inner_text()
    set_sliders(page, start)
    assert warning.inner_text() == ""

    curves = page.evaluate("([s, axis]) => explorer.curves(s, axis)", [start | {"n": 100}, "m"])
    gaps = [x for x, y in zip(curves["x"], curves["error frozen"], strict=True) if math.isnan(y)]
    assert gaps == [99, 100, 101]
    assert not any(map(math.isnan, curves["error initialized"]))


def test_the_keyboard_reaches_and_moves_every_control(page):
    reached = []
    for _ in range(len(TRIES) + len(RANGES) + 1):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.innerText")
        )
    assert reached == [*TRIES, *(f"explorer-{name}" for name in RANGES), "explorer-axis"]
    before = read_table(page)
    page.get_by_label("squared distance, shared part").press("ArrowRight")
    moved = TRIES["Start"] | {"du": round(TRIES["Start"]["du"] + STEPS["du"], 2)}
    assert read_table(page) != before
    assert table_deviation(read_table(page), moved) < CLOSE
    assert page.locator("label[for=explorer-du] + span").inner_text() == str(moved["du"])


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#121212")])
def test_curves_stand_out_in_both_themes(page, theme, ground):
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    colors = page.evaluate(
        """async () => Object.values(await explorer.ready).flatMap((plot) => [
          ...plot.renderers.map(({glyph}) => glyph.line_color.value),
          plot.below[0].major_label_text_color, plot.left[0].major_label_text_color])"""
    )
    for color in colors:
        bright, dim = sorted((luminance(color), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 3, color


def test_print_shows_the_still_figure_instead(page):
    still, widget = page.locator("#fig-explorer"), page.locator("#explorer")
    assert widget.is_visible()
    assert not still.is_visible()
    page.emulate_media(media="print")
    still.wait_for(state="visible", timeout=5_000)
    assert not widget.is_visible()


def test_without_scripts_the_still_figure_is_there(address, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#fig-explorer").is_visible()
    context.close()
