"""The built book in a real browser: its pages work without a network, are accessible and small, and respond.

A page is opened once, as a file; it is checked at phone width in the light theme and at desktop width in the dark. One
tab shows all pages, because a new tab for each takes half as long again.
"""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import expect, sync_playwright

from stn_paper.paths import ROOT

HTML = ROOT / "book/_build/html"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PHONE, TABLET, DESKTOP = ({"width": width, "height": 900} for width in (390, 1024, 1280))
VIEWS = [(PHONE, "light"), (PHONE, "dark"), (DESKTOP, "light"), (DESKTOP, "dark")]
FIRST = "notebooks/index.html"  # tested in all views; all other pages only in the first and last view
# axe's rules whose result depends on the view; all other rules are tested in the first view only
OF_VIEWS = ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]
# axe checks all of these pages; on the other pages it leaves out ALIKE, which looks the same everywhere
WHOLE = (FIRST, "notebooks/lstn_in_60_lines.html")
# tokens of code, the contents, all but seven rows of a table
ALIKE = [".highlight pre span", ".bd-sidebar-primary", "tbody tr:nth-child(n+8)"]
# checking pseudo-elements behind texts takes half of the time, and such texts never fail
CONFIGURED = {"checks": [{"id": "color-contrast", "options": {"ignorePseudo": True}}]}
STILL = "*, ::before, ::after { transition: none !important; animation: none !important }"
FOUND = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("**/*.html") if p.parent.name != "_static")
RUNS = sorted((p for p in FOUND if p.startswith("runs/")), key=lambda p: (HTML / p).stat().st_size)
FEW = [p for p in FOUND if p not in RUNS[1:-1]]  # of the runs, one template's, two
MOVED = [p for p in FEW if 'http-equiv="refresh"' in (HTML / p).read_text()[:1000]]
PAGES = [p for p in FEW if p not in MOVED]
INTERACTIVE = [
    p for p in PAGES if re.search(r'<table[^>]* class="[^"]*\binteractive\b', (HTML / p).read_text())
]

NEEDED = {"a browser: `apt-get install chromium`": CHROMIUM, "the built book: `make book`": FOUND}
MISSING = [what for what, found in NEEDED.items() if not found]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND"],  # no network
        )
        yield browser
        browser.close()


def opened(browser, place=None, query="", window=DESKTOP):
    """Open `place` in a tab: the tab, its requests, and its errors."""
    page = browser.new_page(reduced_motion="reduce", viewport=window)
    tab = SimpleNamespace(page=page, errors=[], requests=[])
    page.on("console", lambda m: tab.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: tab.errors.append(str(error)))
    page.on("request", lambda request: tab.requests.append(request.url))
    if place:
        place, _, own_query = place.partition("?")
        page.goto((HTML / place).as_uri() + (f"?{own_query}" if own_query else query))
    return tab


def is_local(url):
    return urlsplit(url).scheme in ("file", "data", "blob")


@pytest.fixture(scope="module")
def tab(browser):
    """The tab that shows one page after the other."""
    tab = opened(browser, window=PHONE)
    yield tab
    tab.page.close()


@pytest.fixture(scope="module", params=PAGES or ["no page"])
def visit(request, tab):
    """Open a page in each view, then open all its folded parts.

    Returns the page's `errors`, `requests` (their addresses), `wider` (pixels beyond the window, by width) and axe's
    `violations`.
    """
    tab.errors.clear()
    tab.requests.clear()
    page, wider, violations = tab.page, {}, []
    page.set_viewport_size(PHONE)  # when it is loaded, the page gives tab stops to elements that scroll
    page.goto((HTML / request.param).as_uri())
    page.add_style_tag(content=STILL)
    page.evaluate(AXE.read_text())
    page.evaluate(f"axe.configure({json.dumps(CONFIGURED)})")
    for window, scheme in VIEWS if request.param == FIRST else VIEWS[::3]:
        page.set_viewport_size(window)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
        wider[window["width"]] = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        context = {"include": [["html"]], "exclude": [] if request.param in WHOLE else [[s] for s in ALIKE]}
        options = {"resultTypes": ["violations"], "preload": False}
        if (window, scheme) != VIEWS[0]:
            options["runOnly"] = OF_VIEWS
        found = page.evaluate("([context, options]) => axe.run(context, options)", arg=[context, options])
        serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
        nodes = [(rule["id"], node) for rule in serious for node in rule["nodes"]]
        violations += [(window["width"], scheme, id, n["target"], n["failureSummary"]) for id, n in nodes]
    page.set_viewport_size(TABLET)
    if request.param in INTERACTIVE:
        page.locator(".dt-container").first.wait_for(state="attached")
    page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    wider["unfolded"] = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    return SimpleNamespace(errors=[*tab.errors], requests=[*tab.requests], wider=wider, violations=violations)


def test_a_page_loads_without_an_error(visit):
    assert visit.errors == []


def test_a_page_asks_the_network_for_nothing(visit):
    assert [url for url in visit.requests if not is_local(url)] == []


def test_a_page_is_no_wider_than_the_window(visit):
    assert max(visit.wider.values()) <= 0, visit.wider


def test_axe_finds_nothing_serious(visit):
    assert visit.violations == []


def test_a_page_weighs_less_than_3_megabytes(visit):
    files = {Path(unquote(urlsplit(url).path)) for url in visit.requests if url.startswith("file:")}
    weights = {path.stat().st_size / 1e6: path.name for path in files}
    assert sum(weights) < 3, max(weights.items())


def test_a_page_of_every_kind_of_run_loads(browser):
    """One page for each variant; networks, datasets, protocols and seeds differ in numbers only."""
    kinds = {Path(place).name.split("_")[3]: place for place in RUNS}
    if not kinds:
        pytest.skip("the book has no page of a run")
    tab = opened(browser)
    for place in kinds.values():
        tab.page.goto((HTML / place).as_uri())
        assert tab.errors == [], place
    assert all(map(is_local, tab.requests))
    tab.page.close()


def test_the_first_page_leads_into_the_book(browser):
    tab = opened(browser, "index.html")
    tab.page.wait_for_url(f"**/{FIRST}")
    assert tab.errors == []
    tab.page.close()


def test_the_menus_open_on_a_phone(browser):
    tab = opened(browser, "notebooks/theta.html", window=PHONE)
    for name in ("primary", "secondary"):
        links = tab.page.locator(f"#pst-{name}-sidebar-modal a")
        assert not links.first.is_visible()
        tab.page.locator(f".{name}-toggle:visible").click()
        links.first.wait_for(state="visible")
        tab.page.keyboard.press("Escape")
        links.first.wait_for(state="hidden")
    assert tab.errors == []
    tab.page.close()


def test_search_finds_a_page(browser):
    tab = opened(browser, "search.html", "?q=localization")
    tab.page.locator("#search-results li a").first.wait_for()
    assert tab.errors == []
    tab.page.close()


def test_the_theme_switch_changes_the_theme(browser):
    tab = opened(browser, "run.html")
    seen = set()
    for _ in range(3):  # automatic, light, dark
        tab.page.locator(".theme-switch-button:visible").click()
        seen.add(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == 2
    tab.page.close()


def test_hidden_code_opens_by_the_keyboard(browser):
    tab = opened(browser, "notebooks/claims.html")
    code = tab.page.locator("details:has(summary)").first
    assert not code.locator("pre").is_visible()
    code.locator("summary").press("Enter")
    assert code.locator("pre").is_visible()
    tab.page.close()


def test_claims_are_chosen_by_verdict_and_an_address_opens_its_claim(browser):
    tab = opened(browser, "notebooks/claims.html")
    lines, filters = tab.page.locator("details.claim"), tab.page.locator("input[name=verdict]")
    every = lines.count()
    seen = 0
    for code in filters.evaluate_all("inputs => inputs.map((one) => one.value)")[1:]:
        tab.page.locator(f"input[value={code}]").check()
        shown = tab.page.locator("details.claim:visible")
        assert set(shown.evaluate_all("lines => lines.map((one) => one.dataset.verdict)")) == {code}
        seen += shown.count()
    assert seen == every > 0
    anchor = lines.last.locator("div").get_attribute("id")
    tab.page.close()
    tab = opened(browser)
    tab.page.goto((HTML / "notebooks/claims.html").as_uri() + f"#{anchor}")
    expect(tab.page.locator(f"#{anchor}")).to_be_visible()
    assert tab.page.locator("details.claim[open]").count() == 1
    assert tab.errors == []
    tab.page.close()


def test_the_explorer_answers_the_keyboard_and_resets(browser):
    tab = opened(browser, "notebooks/explorer.html")
    explorer = tab.page.locator(".stn-explorer")

    def shown():
        theta = explorer.locator("[data-part=theta]").get_attribute("aria-label")
        grid = explorer.locator("[data-part=region]").inner_html()
        pixels = explorer.locator("[data-part=output]").evaluate("canvas => canvas.toDataURL()")
        return theta, grid, pixels

    explorer.locator("[data-part=theta][aria-label]").wait_for()
    for name in ("rotation", "scale", "x", "y", "shear"):
        before = shown()
        slider = explorer.locator(f"input[name={name}]")
        value = float(slider.input_value())
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        assert float(slider.input_value()) > value
        assert all(new != old for new, old in zip(shown(), before)), name
    explorer.get_by_role("button", name="Reset").press("Enter")
    assert shown()[0] == "theta, first row 1.00, 0.00, 0.00; second row 0.00, 1.00, 0.00"
    same = "p => p.querySelector('[data-part=input]').toDataURL()"
    assert shown()[2] == explorer.evaluate(same)
    assert tab.errors == []
    tab.page.close()


def test_the_playground_answers_keyboard_pointer_and_switch(browser):
    tab = opened(browser, "notebooks/playground.html", window=PHONE)
    play, place = tab.page.locator(".stn-playground"), tab.page.locator("[data-part=place]")
    play.locator("[data-network=lstn] [data-part=best]").wait_for()

    def state():
        tab.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        thetas = play.locator("[data-part=theta]").all_inner_texts()
        classes = play.locator("[data-part=best]").all_inner_texts()
        return json.loads(play.get_attribute("data-pose")), thetas, classes

    for key, part in (("ArrowRight", "x"), ("ArrowDown", "y"), ("PageDown", "turn"), ("+", "scale")):
        before, thetas, _ = state()
        place.press(key)
        after, moved, _ = state()
        assert after[part] > before[part] and moved != thetas, key

    play.get_by_role("button", name="Upright, centred").press("Enter")
    pose, _, classes = state()
    assert pose == {"scale": 1, "turn": 0, "x": 0, "y": 0}
    assert [text.split()[0] for text in classes] == ["4"] * 3

    box, mouse = place.bounding_box(), tab.page.mouse
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(x, y)  # the digit
    mouse.down()
    mouse.move(x + box["width"] / 8, y)
    mouse.up()
    assert state()[0]["x"] == pytest.approx(0.25, abs=0.02)
    corner = play.locator("circle.reach[data-drag=corner]").nth(2).bounding_box()  # below to the right
    mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    mouse.down()
    mouse.move(x + box["width"] / 8, y + box["height"] * 0.45)
    mouse.up()
    assert state()[0]["turn"] == pytest.approx(45, abs=3)

    play.get_by_role("switch").check()
    _, thetas, classes = state()
    assert len(set(classes)) == 1 and len(set(thetas)) == 1
    assert play.locator(".discarded").count() == 2
    play.get_by_role("button", name="Clear and draw").press("Enter")
    pad = play.locator("[data-part=draw]").bounding_box()
    mouse.move(pad["x"] + pad["width"] / 2, pad["y"] + pad["height"] * 0.2)
    mouse.down()
    mouse.move(pad["x"] + pad["width"] / 2, pad["y"] + pad["height"] * 0.8)
    mouse.up()
    play.get_by_role("switch").uncheck()
    assert [text.split()[0] for text in state()[2]].count("1") >= 2  # a stroke from top to bottom, a one
    assert tab.errors == []
    tab.page.close()


def opened_table(browser, place):
    tab = opened(browser, place)
    table = tab.page.locator(".dt-container").first
    table.wait_for()
    return tab, table


def test_a_table_sorts_by_number_narrows_and_downloads_a_number_a_column(browser):
    tab, table = opened_table(browser, "notebooks/runs.html")
    names = [text.strip() for text in table.locator("thead tr").last.locator("th").all_inner_texts()]
    place = names.index("Test (%)")

    def column():
        return [
            float(text) for text in table.locator(f"tbody tr > :nth-child({place + 1})").all_inner_texts()
        ]

    heading = table.locator("thead tr").last.locator("th").nth(place)
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    upward = column()
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    downward = column()
    assert upward == sorted(upward) and downward == sorted(downward, reverse=True)
    # a page of the rows, and not always the same
    assert 0 < len(upward) < len(RUNS) and upward[0] < downward[0]

    table.get_by_role("combobox", name="Dataset").select_option("MNIST RTS")
    table.get_by_role("searchbox").fill("L-STN")
    chosen = table.locator("tbody tr").all_inner_texts()
    assert chosen and all("MNIST RTS" in row and "L-STN" in row for row in chosen)

    with tab.page.expect_download() as download:
        table.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) >= len(chosen)
    assert {row["Dataset"] for row in rows} == {"MNIST RTS"} and all(
        float(row["Test (%)"]) > 0 for row in rows
    )
    assert tab.errors == []
    tab.page.close()


def test_an_address_chooses_rows_and_two_rows_of_headings_name_each_column(browser):
    tab, table = opened_table(browser, "notebooks/runs.html?search=ResNet-50%20TSRD")
    rows = table.locator("tbody tr").all_inner_texts()
    assert rows and all("ResNet-50" in row and "TSRD" in row for row in rows)
    tab.page.close()
    tab, table = opened_table(browser, "notebooks/runs.html?Dataset=TSRD&Variant=Original")
    cells = table.locator("tbody tr td:first-child, tbody tr th:first-child").all_inner_texts()
    assert set(cells) == {"TSRD"}  # and not "TSRD, distinct pictures"
    tab.page.close()
    tab, table = opened_table(browser, "notebooks/table6.html")
    with tab.page.expect_download() as download:
        table.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
    assert {"Network", "STN paper", "L-STN paper"} <= rows[0].keys()
    assert all(70 < float(row["L-STN paper"]) < 80 for row in rows)
    tab.page.close()


@pytest.mark.parametrize("place", ["notebooks/table6.html", "notebooks/network_costs.html"])
def test_a_chart_singles_out_a_variant_and_tells_a_value(browser, place):
    tab = opened(browser, place)
    chart = tab.page.locator(".vega-chart svg.marks").first
    chart.wait_for()
    faint = 'document.querySelectorAll(\'.vega-chart :is([opacity="0.08"], [opacity="0.1"])\').length'
    assert tab.page.evaluate(faint) == 0
    chart.locator(".role-legend-label text").first.click(force=True)
    tab.page.wait_for_function(faint)
    names = ("variant", "accuracy")
    point = chart.locator("g.mark-symbol.role-mark path").first
    label = point.get_attribute("aria-label")
    assert all(name in label for name in names)
    point.hover(force=True)
    tip = tab.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert all(name in tip.inner_text() for name in names) and "undefined" not in tip.inner_text()
    assert tab.errors == []
    tab.page.close()
