"""courier.report in a real browser."""

import os

from browser import Browser
from harness import SqlError, equal, test
from receiver import Answer

PICTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".test", "report")
EVIL = """<script>window.pwned = 1</script>"><img src=x onerror="window.pwned = 2">'&amp;"""

# Every text on the page against what is behind it, as WCAG 2 counts.
CONTRAST = """(() => {
    const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
    const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c.slice(0, 3) } return [255, 255, 255] };
    const weak = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || e.closest('title')) continue;
        const style = getComputedStyle(e);
        const a = light(rgb(e.namespaceURI.includes('svg') ? style.fill : style.color)), b = light(behind(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) weak.push(`${walker.currentNode.data.trim().slice(0, 20)}: ${ratio.toFixed(2)}`);
    }
    return weak })()"""
# Structure that a screen reader goes by.
STRUCTURE = """(() => {
    const wrong = [], all = s => [...document.querySelectorAll(s)];
    if (document.documentElement.lang != 'en' || !document.title || !document.querySelector('main')) wrong.push('language, title or main');
    let level = 0;
    for (const h of all('h1, h2, h3, h4')) { const n = +h.tagName[1]; if (n > level + 1) wrong.push('heading after ' + level + ': ' + h.textContent); level = n }
    for (const s of all('svg')) if (s.getAttribute('role') != 'img' || !s.getAttribute('aria-label')) wrong.push('an svg without a name');
    for (const t of all('th')) if (!t.scope) wrong.push('a th without scope');
    for (const s of all('.scroll')) if (s.tabIndex != 0 || !s.getAttribute('aria-label')) wrong.push('a scrolling part that keys cannot reach');
    return wrong })()"""


def page(t, name, query, **more):
    os.makedirs(PICTURES, exist_ok=True)
    path = os.path.abspath(os.path.join(PICTURES, name + ".html"))
    with open(path, "w") as f:
        f.write(t.call(query, **more) if more else t.call(query))
    return path


@test("report: a page in a real browser, light and dark, wide and narrow; a record that is a script stays text", settings=("superuser",))
def in_browser(t):
    t.table([(n, "x") for n in range(1, 60)])
    t.receiver.script(t.path + "/7", Answer(422, {"detail": "refused: " + EVIL}))
    t.sync(mode="mirror", schedule="0 3 1 1 *")
    t.sql(f"INSERT INTO {t.name} VALUES (7, $x${EVIL}$x$) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name")
    t.run("warning", rejected_added=1)
    for n in range(5):
        t.sql(f"UPDATE {t.name} SET name = 'v{n}' WHERE id > 50 - {n} * 4 AND id <> 7", f"DELETE FROM {t.name} WHERE id = {20 + n}")
        t.run("warning", succeeded_removed=1)
    other = t.name + " & <b>co</b>"
    t.table([(1, "x")], name=t.name + "_co")
    t.sync(other, relation=t.name + "_co", mode=None, destination=None)
    t.run(sync=other)
    t.sync(t.name + "_failing", model=t.name, destination=t.name)
    t.admin(f"UPDATE courier_internal.sync SET mapping = '{{\"id\": \"1/(id-id)\"}}' WHERE name = '{t.name}_failing'")
    t.run("failed", sync=t.name + "_failing")

    # Of other tests' syncs, which run at the same time, the page has only the graph and the cards.
    browser = Browser()
    try:
        for name, query in (("all", "SELECT courier.report()"), ("one", f"SELECT courier.report('{t.name}')")):
            path = page(t, name, query)
            for width in (360, 1200) if name == "all" else (360,):
                for dark in (False, True):
                    browser.screen(width, dark)
                    browser.open(path)
                    where = f"{name}, {width} px, {'dark' if dark else 'light'}"
                    equal(browser.complaints(), [], where)
                    assert browser.value("document.documentElement.scrollWidth") <= width, f"{where}: wider than the screen: {browser.value('document.documentElement.scrollWidth')}"
                    equal(browser.value("[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"), [], where)
                    equal(browser.value(CONTRAST), [], where + ": contrast")
                    browser.picture(os.path.join(PICTURES, f"{name}-{width}-{'dark' if dark else 'light'}.png"))
            equal(browser.value(STRUCTURE), [], name)
            equal(browser.value("[window.pwned === undefined, document.querySelectorAll('script, img, b b').length]"), [True, 0], name)
        text = browser.value("document.body.innerText")
        assert EVIL in text, "the sample record, as text"
        assert "refused: " + EVIL in text, "the destination's words, as text"
        assert f"local → {t.name} → {t.name}, mirror, 0 3 1 1 *" in text, text[:500]
        # What the charts draw is what the runs did.
        drawn = browser.value("[...document.querySelectorAll('figure:first-of-type rect title')].map(e => e.textContent)")
        runs = t.rows(f"SELECT * FROM courier.run_details WHERE sync = '{t.name}' ORDER BY run_id")
        equal(drawn, [f"run {r['run_id']}: {n} {what}" for r in runs
                      for what, n in (("added", r["succeeded_added"]), ("changed", r["succeeded_changed"]), ("removed", r["succeeded_removed"]), ("rejected", r["rejected_added"] + r["rejected_changed"])) if n])
        browser.value("document.querySelector('details').open = true")
        equal(browser.value("document.querySelectorAll('tbody tr').length"), 6)
        browser.open(page(t, "all", "SELECT courier.report()"))
        assert other in browser.value("document.body.innerText"), "a name is text"
        assert "division by zero" in browser.value("document.body.innerText")
    finally:
        browser.close()


@test("report: shows what one may see, and nothing else", settings=("owner",))
def rights(t):
    t.table([(1, "one")])
    t.sync()
    t.run()
    stranger = t.name + "_stranger"
    t.admin(f"CREATE ROLE {stranger} LOGIN", f"CREATE ROLE {t.name}_viewer LOGIN IN ROLE courier_viewer")
    assert t.name in t.call("SELECT courier.report()") and t.name in t.admin("SELECT courier.report()", user=f"{t.name}_viewer")
    empty = t.admin("SELECT courier.report()", user=stranger)
    assert "There is no sync that you may see" in empty and t.name not in empty, empty
    for sync, sqlstate in ((t.name, "42501"), ("nothing like it", "42704")):
        try:
            t.admin(f"SELECT courier.report('{sync}')", user=stranger)
            raise AssertionError("shown: " + sync)
        except SqlError as error:
            equal(error.sqlstate, sqlstate)
