/* Renews the parts of a page that are marked with data-region, as the element marked with data-live
   says. It asks for the page's own address with a header; the answer holds the same parts, rendered
   by the same templates. Without this script a page is complete, only as old as its last load. */
"use strict";
if (document.querySelector("[data-live]")) {
    const HEADERS = {"X-Jobs-Live": "1"};
    const LONGEST_PAUSE = 60;
    const KEY = "django_jobs.refresh";
    const CHECKBOXES = "#result_list input.action-select";

    const controls = document.querySelector("[data-live]");
    const select = controls.querySelector("[data-live-seconds]");
    const age = controls.querySelector("[data-live-age]");
    const error = controls.querySelector("[data-live-error]");
    // What was put into each part: scripts and readers may have changed it since.
    const shown = new Map();
    let etag = "";
    let failures = 0;
    let timer = 0;
    let asking = false;
    let ended = false;
    let listens = true;
    let updated = Date.now();

    const seconds = () => Number(select.value);

    function plan(pause) {
        clearTimeout(timer);
        if (!ended && !document.hidden && seconds()) {
            timer = setTimeout(look, pause * 1000);
        }
    }

    async function look() {
        if (asking) {
            return;
        }
        asking = true;
        let pause = seconds();
        try {
            await ask();
            failures = 0;
            updated = Date.now();
            error.textContent = "";
        } catch {
            failures += 1;
            pause = Math.min(LONGEST_PAUSE, Math.max(pause, 1) * 2 ** failures);
            error.textContent = controls.dataset.stale.replace("%s", pause);
        }
        asking = false;
        if (ended) {
            error.textContent = controls.dataset.ended;
        }
        tell();
        plan(pause);
    }

    async function ask() {
        const headers = etag ? {...HEADERS, "If-None-Match": etag} : HEADERS;
        const answer = await fetch(location.href, {
            headers, cache: "no-store", credentials: "same-origin", redirect: "manual",
        });
        if (answer.status === 304) {
            return;
        }
        if (answer.type === "opaqueredirect" || answer.status === 403 || answer.status === 404) {
            ended = true;
            return;
        }
        if (!answer.ok) {
            throw new Error(`status ${answer.status}`);
        }
        const renewed = new DOMParser().parseFromString(await answer.text(), "text/html");
        const left = Array.from(renewed.querySelectorAll("[data-region]"), swap).includes(false);
        // What was left as it was because somebody works in it is asked for again.
        etag = left ? "" : answer.headers.get("ETag") || "";
    }

    /* Puts one part in the place of the old one; false: not now, somebody works in it. */
    function swap(fresh) {
        const name = fresh.dataset.region;
        const old = document.querySelector(`[data-region="${CSS.escape(name)}"]`);
        const html = fresh.innerHTML;
        if (!old || shown.get(name) === html) {
            return true;
        }
        if (inUse(old)) {
            return false;
        }
        const focused = old.contains(document.activeElement) ? nameOf(document.activeElement) : "";
        const open = new Map(Array.from(old.querySelectorAll("details"), (one) => [nameOf(one), one.open]));
        const scrolled = Array.from(old.querySelectorAll(".jobs-scroll, pre"), (one) => one.scrollLeft);
        const node = document.adoptNode(fresh);
        for (const details of node.querySelectorAll("details")) {
            details.open = open.get(nameOf(details)) ?? details.open;
        }
        old.replaceWith(node);
        shown.set(name, html);
        listens = listens && !node.querySelector(CHECKBOXES);
        node.dispatchEvent(new Event("jobs:renewed", {bubbles: true}));
        node.querySelectorAll(".jobs-scroll, pre").forEach((one, place) => {
            one.scrollLeft = scrolled[place] || 0;
        });
        if (focused) {
            const twins = node.querySelectorAll("a, button, summary, input, select");
            Array.from(twins).find((one) => nameOf(one) === focused)?.focus({preventScroll: true});
        }
        return true;
    }

    function inUse(region) {
        const selection = document.getSelection();
        const selected = !selection.isCollapsed && selection.containsNode(region, true);
        const fields = Array.from(region.querySelectorAll("select[name=action], input[type=text]"));
        const filled = (one) => one === document.activeElement || one.value !== (one.defaultValue ?? "");
        return selected || region.querySelector("input:checked:not([data-live-free])") !== null
            || fields.some(filled);
    }

    /* The admin's own script knows the checkboxes of a list that it was told of: of those that came
       later at the first click, as what it listens to stays for ever. */
    function listen() {
        if (!listens) {
            listens = true;
            window.Actions?.(document.querySelectorAll(CHECKBOXES));
        }
    }

    /* What an element and its successor have in common. */
    function nameOf(element) {
        const {id, dataset, name, value, href} = element;
        const own = id || dataset.key || href || (name && `${name}=${value}`);
        return `${element.tagName} ${own || element.textContent.trim().slice(0, 80)}`;
    }

    function tell() {
        const past = Math.round((Date.now() - updated) / 1000);
        age.textContent = controls.dataset.updated.replace("%s", past);
    }

    function store(value) {
        try {
            localStorage.setItem(KEY, value);
        } catch {
            // A browser without a store: the choice holds for this page.
        }
    }

    function stored() {
        try {
            return localStorage.getItem(KEY);
        } catch {
            return null;
        }
    }

    const wanted = stored();
    if (Array.from(select.options).some((option) => option.value === wanted)) {
        select.value = wanted;
    }
    select.addEventListener("change", () => {
        store(select.value);
        failures = 0;
        plan(seconds());
    });
    document.addEventListener("visibilitychange", () => plan(0));
    document.addEventListener("click", listen, {capture: true});
    setInterval(tell, 1000);
    controls.hidden = false;
    plan(seconds());
}
