/* Shows only the fields of the chosen kind of schedule, its next times while they are typed, and the
   arguments of the chosen job function. Without this script, the form shows the fields of all kinds,
   and the arguments of another function after a save. */
"use strict";
{
    const PAUSE = 300;
    const FIELDS = {interval: "every", crontab: "crontab", clocked: "clocked_at", solar: "solar_event"};
    const shown = document.querySelector("[data-preview]");
    const form = document.querySelector("#schedule_form");
    const kind = form?.querySelector("select[name=kind]");
    let timer = 0;
    let asked = 0;

    const partOf = (field) => form.querySelector(`.field-${field}`)?.closest("fieldset");

    function choose() {
        for (const [name, field] of Object.entries(FIELDS)) {
            const part = partOf(field);
            if (part) {
                part.hidden = name !== kind.value;
                part.querySelectorAll("details").forEach((one) => { one.open = true; });
            }
        }
    }

    function list(texts) {
        const lines = document.createElement("ol");
        lines.className = "jobs-times";
        lines.append(...texts.map((text) => Object.assign(document.createElement("li"), {textContent: text})));
        return lines;
    }

    async function ask() {
        const number = asked += 1;
        const answer = await fetch(shown.dataset.preview, {
            method: "POST", body: new FormData(form), credentials: "same-origin",
        });
        if (!answer.ok || number !== asked) {
            return;
        }
        const {words, times, grid, errors, arguments: fields} = await answer.json();
        if (fields !== undefined) {
            form.querySelector(".jobs-schedule-arguments").innerHTML = fields;
        }
        const title = Object.assign(document.createElement("strong"), {textContent: words});
        shown.replaceChildren(...(words ? [title] : []), list([...errors, ...times]));
        shown.insertAdjacentHTML("beforeend", grid);
        shown.classList.toggle("jobs-preview-wrong", errors.length > 0);
        shown.hidden = !kind.value;
    }

    if (kind && shown) {
        partOf("kind").after(shown);
        form.addEventListener("input", () => {
            choose();
            clearTimeout(timer);
            timer = setTimeout(ask, PAUSE);
        });
        choose();
        ask();
    }
}
