/* Keys for people who live in these pages; "?" lists them. They do nothing while somebody types, and
   can be switched off in that list, as single letters may be in the way of speech input. Everything
   that they do can be done without them. */
"use strict";
if (document.getElementById("jobs-keys")) {
    const OFF = "django_jobs.keys";
    const ROWS = "#result_list tbody tr, .jobs-section tbody tr";
    const template = document.getElementById("jobs-keys");
    let dialog = null;
    let chord = 0;

    function isOff() {
        try {
            return localStorage.getItem(OFF) === "off";
        } catch {
            return false;
        }
    }

    function switchTo(on) {
        try {
            localStorage.setItem(OFF, on ? "on" : "off");
        } catch {
            // Without storage, the keys stay on.
        }
    }

    function help() {
        if (!dialog) {
            document.body.append(template.content.cloneNode(true));
            dialog = document.querySelector("dialog.jobs-keys");
            const box = dialog.querySelector("input");
            box.checked = !isOff();
            box.addEventListener("change", () => switchTo(box.checked));
        }
        // The browser keeps the focus inside, and Escape closes it.
        dialog.showModal();
    }

    const links = () => Array.from(document.querySelectorAll(ROWS), (row) => row.querySelector("a"))
        .filter((link) => link?.checkVisibility?.() ?? link);

    function move(step) {
        const every = links();
        const row = document.activeElement.closest?.("tr");
        const place = every.findIndex((link) => link.closest("tr") === row);
        const next = place < 0 ? (step > 0 ? 0 : every.length - 1) : place + step;
        every[Math.max(0, Math.min(every.length - 1, next))]?.focus();
    }

    /* Goes to the button that retries; Enter presses it. In a list it chooses the row first. */
    function retry() {
        const row = document.activeElement.closest?.("tr");
        const select = document.querySelector("#changelist-form select[name=action]");
        if (select?.querySelector("[value=retry]")) {
            const box = row?.querySelector("input.action-select");
            if (box && !box.checked) {
                box.click();
            }
            select.value = "retry";
            select.closest(".actions").querySelector("[type=submit]").focus();
            return;
        }
        const button = "button[name=action][value=retry]";
        (row?.querySelector(button) ?? document.querySelector(button))?.focus();
    }

    const search = () => document.getElementById("searchbar")?.focus();
    const KEYS = {
        "?": help, "/": search, "j": () => move(1), "k": () => move(-1), "r": retry,
    };

    function isTyping(element) {
        return element.isContentEditable || element.closest?.("dialog[open], select, textarea")
            || (element.matches?.("input") && !["checkbox", "radio", "submit", "button"].includes(element.type));
    }

    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented
            || isTyping(event.target) || (isOff() && event.key !== "?")) {
            return;
        }
        const page = Date.now() - chord < 1500 ? template.dataset[event.key] : "";
        chord = event.key === "g" ? Date.now() : 0;
        if (page) {
            location.assign(page);
        } else if (KEYS[event.key]) {
            KEYS[event.key]();
        } else {
            return;
        }
        event.preventDefault();
    });
}
