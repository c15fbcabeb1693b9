"""Looks at the first page and at /docs with a browser, as a person would: sends a command of each system through the
forms and waits until the views show it. Fails at any error in the console, breach of the policy, request to elsewhere,
or finding of axe. Leaves screenshots in target/page. Usage: check.py BINARY CHROMIUM, the latter empty for Playwright's own."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

WAIT_MS = 15_000
STOP_SECONDS = 30
PICTURES = pathlib.Path("target/page")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
EVIL = "<img src=x onerror=document.title='owned'>"
WATCH = "window.breaches = []; document.addEventListener('securitypolicyviolation', e => breaches.push(`${e.violatedDirective}: ${e.blockedURI}`))"
# A view of a kind that none of the compiled-in ones is.
STATS = "name = 'prices'\non = 'purchase.recorded'\nstats = { of = 'scoops[].price' }\n"
# A refused command is an answer, but a browser logs it all the same.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (401|412|422|503)")
# Who may see detections.
USER = {"username": "ada", "name": "Ada", "lastname": "Lovelace", "email": "ada@example.org", "password": "correct horse battery"}


def main(binary, chromium):
    expect.set_options(timeout=WAIT_MS)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(binary) as base, sync_playwright() as playwright:
        # A browser that is launched like this has a fresh profile of its own, removed afterwards.
        browser = playwright.chromium.launch(executable_path=chromium or None, args=FLAGS, headless=True)
        for check in (logins, foods, purchases, introductions, detections, pictures, nothing_is_disturbed, away, troubles, documentation, looks):
            print(f"    {check.__name__.replace('_', ' ')}", flush=True)
            with opened(browser, base) as page:
                check(page, base)
        browser.close()
    print(f"    screenshots are in {PICTURES}")


def logins(page, base):
    """Who is not logged in sees what is for everybody, and a line instead of the rest."""
    registered = page.request.post(f"{base}/users", data=USER)
    assert registered.status == 201, registered.text()
    for name in ("detections", "suspicious_vehicles", "vehicles_per_make"):
        expect(view(page, name).locator(".locked")).to_contain_text("log in")
        expect(view(page, name).locator("table")).to_be_hidden()
    expect(view(page, "food_counts").locator(".locked")).to_be_hidden()
    page.get_by_role("tab", name="Detection").click()
    expect(page.locator("#detection")).to_be_hidden()
    expect(page.locator("#detection-locked")).to_contain_text("log in")
    picture(page, "logged-out")
    accessible(page, "logged out")
    log_in(page, "wrong horse battery")
    expect(page.locator("#login-message")).not_to_be_empty()
    expect(page.locator("#who")).to_be_hidden()
    accessible(page, "refused")
    log_in(page)
    expect(page.get_by_role("button", name="Log out")).to_be_focused()
    expect(page.locator("#detection")).to_be_visible()
    expect(view(page, "detections").locator(".locked")).to_be_hidden()
    expect(view(page, "detections").locator(".shown")).to_be_visible()
    picture(page, "logged-in")
    accessible(page, "logged in")
    page.reload()
    expect(page.locator("#who-name")).to_have_text("ada")
    token = page.evaluate("sessionStorage.getItem('refold.token')")
    assert token and token not in page.content(), "the token stands in the page"
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#login-name")).to_be_focused()
    expect(view(page, "detections").locator(".locked")).to_contain_text("log in")
    assert page.evaluate("sessionStorage.length") == 0
    a_token_that_is_not_taken_ends_the_login(page)


def a_token_that_is_not_taken_ends_the_login(page):
    refusal = {"type": "urn:refold:problem:unauthorized", "title": "Nobody knows who asks", "status": 401, "detail": "the token's user is disabled"}
    page.route("**/views/detections?*", lambda route: route.fulfill(status=401, json=refusal))
    log_in(page)
    expect(page.locator("#login-message")).to_contain_text("no longer logged in")
    expect(page.locator("#login")).to_be_visible()
    page.unroute("**/views/detections?*")


def log_in(page, password=USER["password"]):
    page.get_by_label("User name").fill(USER["username"])
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def foods(page, base):
    page.get_by_role("button", name="Record the food").click()
    expect(page.locator("#food .error").first).to_contain_text("character")
    expect(page.locator("#food-food")).to_be_focused()
    page.get_by_role("textbox", name="Food", exact=True).fill(EVIL)
    page.get_by_role("button", name="Record the food").click()
    expect(page.locator("#food .alert.good")).to_contain_text("It can be read in Foods")
    expect(view(page, "food_counts").locator("tbody tr")).to_contain_text([EVIL])
    assert page.locator("img[src=x]").count() == 0 and page.title() == "Refold", "a food's name was taken for HTML"
    a_lost_answer_is_repeated_once(page, base)


def a_lost_answer_is_repeated_once(page, base):
    """The service records it, the answer is lost, and the person sends it again."""
    lost = []

    def lose(route):
        lost.append(route.request.headers["idempotency-key"])
        assert route.fetch().status == 201
        route.fulfill(status=503, content_type="application/problem+json", body='{"title": "Lost", "status": 503, "detail": "lost"}')

    page.route("**/foods", lose, times=1)
    page.get_by_role("textbox", name="Food", exact=True).fill("lost pie")
    page.get_by_role("button", name="Record the food").click()
    expect(page.locator("#food .alert.bad")).to_contain_text("same Idempotency-Key")
    with page.expect_request("**/foods") as again:
        page.get_by_role("button", name="Record the food").click()
    assert [again.value.headers["idempotency-key"]] == lost, "the repeat had another key"
    expect(page.locator("#food .alert.good")).to_contain_text("It can be read in")
    expect(row(page, "food_counts", "lost pie").locator(".number")).to_have_text("1")
    page.get_by_role("button", name="Record the food").click()
    expect(row(page, "food_counts", "lost pie").locator(".number")).to_have_text("2")


def purchases(page, base):
    expect(view(page, "prices").locator("tbody tr td").first).to_have_text("0")
    page.get_by_role("tab", name="Purchase").click()
    page.get_by_role("button", name="Add a flavour").click()
    page.locator("#scoops .scoop").nth(1).get_by_role("combobox").select_option("lemon")
    page.locator("#scoops .scoop").nth(1).get_by_label("Cents each").fill("-1")
    page.get_by_role("textbox", name="Purchase", exact=True).fill("no id")
    page.get_by_role("button", name="Record the purchase").click()
    expect(page.locator("#scoops .scoop").nth(1).locator(".error:not(:empty)")).to_be_visible()
    expect(page.locator("#purchase-id")).to_have_attribute("aria-invalid", "true")
    picture(page, "purchase-refused")
    page.locator("#scoops .scoop").nth(1).get_by_label("Cents each").fill("250")
    page.get_by_role("textbox", name="Purchase", exact=True).fill("91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0002")
    page.get_by_role("button", name="Record the purchase").click()
    expect(page.locator("#purchase .alert.good")).to_contain_text("It can be read in Purchases")
    expect(view(page, "purchases_by_day").locator("tbody tr.mine")).to_contain_text(["lemon"])
    expect(view(page, "prices").locator("tbody tr td")).to_have_text(["2", "225", "450", "200", "250", "25", "200", "250", "250"])
    expect(row(page, "revenue_by_day", "lemon").locator(".number")).to_have_text("250")
    expect(row(page, "scoops_by_day", "lemon")).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d"))
    expect(page.locator("#purchase-id")).not_to_have_value("91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0002")
    picture(page, "purchase-recorded")


def introductions(page, base):
    page.get_by_role("tab", name="Introduction").click()
    page.get_by_label("Name", exact=True).fill("Ada")
    page.get_by_label("Message").fill("Hello\nfrom here")
    page.get_by_label("Links").fill("https://example.org/ada\nno link")
    page.get_by_role("button", name="Introduce", exact=True).click()
    expect(page.locator("#introduction-links")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Links").fill("https://example.org/ada")
    page.get_by_role("button", name="Introduce", exact=True).click()
    expect(row(page, "introductions", "Ada")).to_be_visible()
    a_revision_of_what_changed_is_refused(page, base)
    page.get_by_role("button", name="Revise the introduction of Grace").click()
    page.get_by_label("Message").fill("Hello again")
    page.get_by_role("button", name="Revise", exact=True).click()
    expect(row(page, "introductions", "Hello again")).to_contain_text("3")
    page.get_by_role("button", name="Withdraw the introduction of Grace").click()
    picture(page, "withdraw")
    page.get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.locator("#introduction .alert.good")).to_contain_text("Withdrawn")
    expect(view(page, "introductions").locator("tbody tr")).to_have_count(0)
    expect(view(page, "introduction_history").locator("tbody tr")).to_have_count(4)


def a_revision_of_what_changed_is_refused(page, base):
    page.get_by_role("button", name="Revise the introduction of Ada").click()
    one = page.request.get(f"{base}/introductions").json()["data"][0]
    faster = page.request.put(f"{base}/introductions/{one['id']}", headers={"If-Match": '"1"'}, data={"name": "Grace", "message": "I was faster"})
    assert faster.status == 200, faster.text()
    page.get_by_role("button", name="Revise", exact=True).click()
    expect(page.locator("#introduction .alert.bad")).to_contain_text("If-Match")
    expect(row(page, "introductions", "Grace")).to_be_visible()


def detections(page, base):
    log_in(page)
    page.get_by_role("tab", name="Detection").click()
    page.locator("#detection-make").fill("Toyota")
    page.locator("#detection-model").fill(EVIL)
    page.locator("#detection-category").fill("SUV")
    page.get_by_role("button", name="Record the detection").click()
    expect(page.locator("#detection-year")).to_be_focused()
    page.locator("#detection-year").fill("2011")
    page.get_by_role("button", name="Record the detection").click()
    expect(page.locator("#detection .alert.good")).to_contain_text("It can be read in Detections")
    for name in ("detections", "suspicious_vehicles"):
        expect(view(page, name).locator("tbody tr.mine")).to_contain_text([EVIL])
    expect(row(page, "detections", "Toyota").locator("[data-label=year]")).to_have_text("2011")
    expect(row(page, "vehicles_per_make", "Toyota").locator(".number")).to_have_text("1")


def pictures(page, base):
    page.get_by_role("tab", name="Picture").click()
    page.locator("#picture-weight").fill("0")
    page.get_by_role("button", name="Register the picture").click()
    expect(page.locator("#picture .error:not(:empty)")).to_have_count(2)
    page.locator("#picture-id").fill("000000243626")
    page.locator("#picture-weight").fill("1778")
    page.get_by_role("button", name="Register the picture").click()
    expect(page.locator("#picture .alert.good")).to_contain_text("It can be read in Picture weights")
    picture(page, "picture-registered")


def nothing_is_disturbed(page, base):
    """While somebody types and reads, others record."""
    filter_ = view(page, "food_counts").get_by_role("textbox")
    filter_.fill("cake")
    expect(view(page, "food_counts").locator(".shown")).to_contain_text("Nothing is selected")
    view(page, "food_counts").get_by_text("Definition").click()
    page.get_by_role("textbox", name="Food", exact=True).fill("half a wo")
    filter_.focus()
    page.evaluate("scrollTo({top: 50, behavior: 'instant'})")
    place = filter_.bounding_box()
    page.request.post(f"{base}/foods", data={"food": "cake"})
    expect(row(page, "food_counts", "cake").locator(".number")).to_have_text("1")
    expect(filter_).to_be_focused()
    expect(page.get_by_role("textbox", name="Food", exact=True)).to_have_value("half a wo")
    expect(view(page, "food_counts").locator("details")).to_have_attribute("open", "")
    assert filter_.bounding_box() == place, "the page moved by itself"
    filter_.fill("")
    many(page, base)
    expect(view(page, "food_counts").locator("tbody tr")).to_have_count(10)
    view(page, "food_counts").get_by_role("button", name="More").click()
    expect(row(page, "food_counts", "food 14")).to_be_visible()
    expect(view(page, "food_counts").locator("tbody tr")).to_have_count(18)


def many(page, base):
    for index in range(15):
        page.request.post(f"{base}/foods", data={"food": f"food {index:02}"})


def away(page, base):
    page.route("**/readyz", lambda route: route.abort())
    expect(page.locator("#service-state")).to_have_text("Away")
    expect(page.locator("#service-text")).to_contain_text("looking again in")
    picture(page, "away")
    page.unroute("**/readyz")
    expect(page.locator("#service-state")).to_have_text("Ready")
    page.expected = re.compile("net::ERR_FAILED")


def troubles(page, base):
    """States that are hard to bring about: a view being folded, a broken one, and a log that lost something."""
    projections = troubled(page.request.get(f"{base}/projections").json())
    page.route("**/projections/live", lambda route: route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(projections)}\n\n"))
    page.route("**/views/introductions?*", lambda route: route.fulfill(status=503, json=problem("folding", "The view is being folded", "…")))
    page.route("**/views/purchases_by_day?*", lambda route: route.fulfill(status=503, json=problem("broken", "The view is broken", "event 1.x.2.0.0: no such flavour")))
    page.route("**/readyz", lambda route: route.fulfill(status=503, json=unready(route.fetch().json())))
    page.reload()  # the stream that is open says what it says
    expect(page.locator("#service-state")).to_have_text("Not ready")
    expect(page.locator("#problems li")).to_have_count(2)
    expect(view(page, "introductions").locator("progress")).to_be_visible()
    expect(view(page, "purchases_by_day").locator(".message")).to_contain_text("no such flavour")
    page.locator("#service summary").click()
    picture(page, "troubles")
    accessible(page, "troubles")


def problem(slug, title, detail):
    return {"type": f"urn:refold:problem:{slug}", "title": title, "status": 503, "detail": detail}


def troubled(projections):
    for one in projections:
        state = {"introductions": "folding", "purchases_by_day": "broken"}.get(one["name"], one["state"])
        one["state"] = state
        if state == "folding":
            one["partitions"] = [{**partition, "position": 310, "target": 1000} for partition in one["partitions"]]
    return projections


def unready(readiness):
    for one in readiness["dependencies"]:
        if one["name"] in ("partition 2", "partition 3"):
            one["problem"] = "the log 0198aaaa lost acknowledged commits 2 times"
        if one["name"] == "partition 5":
            one.update(up=False, problem="the log's record at offset 7 is another one than was folded; run: refold store empty")
    return {**readiness, "ready": False}


def documentation(page, base):
    page.goto(f"{base}/docs")
    page.locator("#operations-Foods-post_foods, [id*='foods']").first.wait_for()
    block = page.locator(".opblock-post", has=page.locator("[data-path='/foods']"))
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator("textarea").fill('{"food": "tried out"}')
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status")).to_contain_text(["201"])
    picture(page, "docs")


def looks(page, base):
    for food, count in {"sandwich": 9, "pie": 6, "soup": 4, "salad": 3}.items():
        for _ in range(count):
            page.request.post(f"{base}/foods", data={"food": food})
    page.request.post(f"{base}/introductions", data={"name": "Ada Lovelace", "message": "The engine weaves algebraic patterns, as the loom weaves flowers and leaves.", "links": ["https://example.org/ada"]})
    page.request.post(f"{base}/introductions", data={"name": "Grace", "message": "Hello", "email": "grace@example.org"})
    for scheme in ("light", "dark"):
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size(size)
            for tab in ("Purchase", "Introduction", "Detection", "Picture", "Food"):
                page.get_by_role("tab", name=tab).click()
                accessible(page, f"{name}, {scheme}, {tab}")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide == 0, f"{name}: {wide} pixels wider than the window"
            expect(row(page, "introductions", "Grace")).to_be_visible()
            picture(page, f"{name}-{scheme}")


def accessible(page, where):
    results = Axe().run(page, options={"resultTypes": ["violations"]})
    assert results.violations_count == 0, f"{where}: {results.generate_report()}"


def view(page, name):
    return page.locator(f"#view-{name}")


def row(page, name, text):
    return view(page, name).locator("tbody tr", has_text=text)


def picture(page, name):
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True, animations="disabled")


@contextmanager
def opened(browser, base):
    """A page of its own, on which nothing may go wrong that was not expected."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="light", service_workers="block")
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.expected = REFUSED
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(base)
    expect(page.locator("#service-state")).to_have_text("Ready")
    expect(page.locator(".view .chip.live")).to_have_count(len(page.request.get(f"{base}/views").json()))
    yield page
    odd = [text for text in said if not page.expected.search(text)]
    assert not odd, f"the console says: {odd}"
    assert page.evaluate("breaches") == [], page.evaluate("breaches")
    elsewhere = [url for url in asked if not url.startswith((f"{base}/", "data:", "blob:"))]
    assert not elsewhere, f"asked elsewhere: {elsewhere}"
    page.unroute_all(behavior="ignoreErrors")
    context.close()


@contextmanager
def served(binary):
    """The binary on a port that is free, with an empty data directory."""
    with tempfile.TemporaryDirectory() as directory:
        definitions = pathlib.Path(directory, "definitions")
        definitions.mkdir()
        (definitions / "prices.toml").write_text(STATS, encoding="utf-8")
        settings = {"REFOLD__DATA_DIR": f"{directory}/data", "REFOLD__HTTP__LISTEN": "127.0.0.1:0", "REFOLD__PROJECTIONS__DIR": str(definitions)}
        server = subprocess.Popen([binary, "serve"], env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            base, said = address(server)
            reader = threading.Thread(target=lambda: said.extend(server.stdout), daemon=True)
            reader.start()  # a pipe that nobody reads would stop the server
            yield base
            server.terminate()
            code = server.wait(STOP_SECONDS)
            reader.join(STOP_SECONDS)
            assert code == 0 and not any("panicked at" in line for line in said), f"the server ended with {code}: {''.join(said[-20:])}"
        finally:
            server.kill()


def address(server):
    """The address that the server says it serves on, and all that it said until then."""
    said = []
    for line in server.stdout:
        said.append(line)
        found = re.search(r"serving on (http://127\.0\.0\.1:\d+)/", line)
        if found:
            return found.group(1), said
    raise AssertionError(f"the server ended: {''.join(said)}")


main(*sys.argv[1:])
