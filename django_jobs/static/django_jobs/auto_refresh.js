/* Refreshes the elements with data-region, as often as the controls with data-refresh say. It requests
   the page's own address with a header; the answer holds the same elements, rendered by the same
   templates. Without this script, a page is complete but does not refresh. */
"use strict";
if (document.querySelector("[data-refresh]")) {
    const HEADERS = {"X-Jobs-Refresh": "1"};
    const LONGEST_PAUSE = 60;
    const KEY = "django_jobs.refresh";
    const CHECKBOXES = "#result_list input.action-select";

    const controls = document.querySelector("[data-refresh]");
    const select = controls.querySelector("[data-refresh-seconds]");
    const age = controls.querySelector("[data-refresh-age]");
    const error = controls.querySelector("[data-refresh-error]");
    // The HTML that each region was given: scripts and users may have changed the region since.
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
            timer = setTimeout(refresh, pause * 1000);
        }
    }

    async function refresh() {
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
        showAge();
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
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const left = Array.from(page.querySelectorAll("[data-region]"), swap).includes(false);
        // A region in use was left unchanged, so the next request asks for all of them again.
        etag = left ? "" : answer.headers.get("ETag") || "";
    }

    /* Replaces a region by its fresh version; returns false if the user works in it. */
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
        node.dispatchEvent(new Event("jobs:refreshed", {bubbles: true}));
        node.querySelectorAll(".jobs-scroll, pre").forEach((one, index) => {
            one.scrollLeft = scrolled[index] || 0;
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
        return selected || region.querySelector("input:checked:not([data-refresh-free])") !== null
            || fields.some(filled);
    }

    /* The admin's own script must learn about replaced checkboxes. It cannot forget the old ones, so
       it learns about the new ones only at the first click. */
    function listen() {
        if (!listens) {
            listens = true;
            window.Actions?.(document.querySelectorAll(CHECKBOXES));
        }
    }

    /* A key that an element and its replacement have in common. */
    function nameOf(element) {
        const {id, dataset, name, value, href} = element;
        const own = id || dataset.key || href || (name && `${name}=${value}`);
        return `${element.tagName} ${own || element.textContent.trim().slice(0, 80)}`;
    }

    const ages = JSON.parse(controls.dataset.ages);
    // This browser's clock may be wrong.
    const ahead = Date.now() / 1000 - ages.at;

    function agoOf(time) {
        const past = Math.round(Date.now() / 1000 - ahead - Date.parse(time.dateTime) / 1000);
        const [size, text] = ages.ages.find(([least]) => Math.abs(past) >= least) || [];
        if (!size) {
            return ages.now;
        }
        const number = text.replace("%d", Math.floor(Math.abs(past) / size));
        return (past > 0 ? ages.ago : ages.in).replace("%s", number);
    }

    function durationOf(time) {
        const lasted = Date.now() / 1000 - ahead - Date.parse(time.dateTime) / 1000;
        const past = Math.max(0, Math.round(lasted * Number(time.dataset.since)));
        const [size, part, text] = ages.durations.find(([least]) => past >= least);
        const numbers = size ? [Math.floor(past / size), Math.floor(past % size / part)] : [past];
        return numbers.reduce((told, number) => told.replace(/%(\(\w+\))?d/, number), text);
    }

    function tick() {
        const selection = document.getSelection();
        for (const time of document.querySelectorAll("time[data-age], time[data-since]")) {
            const text = "age" in time.dataset ? agoOf(time) : durationOf(time);
            // A selection is lost where a text is replaced.
            if (time.textContent !== text && (selection.isCollapsed || !selection.containsNode(time, true))) {
                time.textContent = text;
            }
        }
    }

    function showAge() {
        tick();
        const past = Math.round((Date.now() - updated) / 1000);
        age.textContent = controls.dataset.updated.replace("%s", past);
    }

    function store(value) {
        try {
            localStorage.setItem(KEY, value);
        } catch {
            // Without storage, the choice is kept for this page only.
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
    setInterval(showAge, 1000);
    controls.hidden = false;
    plan(seconds());
}
