/* Shows the values of a moment of a chart beside a line through it: by pointer, touch or arrow keys.
   Enter opens the moment's jobs. Without this script a tooltip of the browser shows the values, and
   the table below the chart has them all. */
"use strict";
{
    const SVG = "http://www.w3.org/2000/svg";
    const STEPS = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10};
    // By the chart's key, so that a refreshed chart goes on where the old one was.
    const places = new Map();

    const moments = (chart) => Array.from(chart.querySelector(".jobs-moments")?.children ?? []);

    function prepare(root) {
        for (const figure of root.querySelectorAll("[data-chart]")) {
            const chart = figure.querySelector(".jobs-chart");
            if (moments(chart).length) {
                chart.setAttribute("tabindex", "0");
                chart.setAttribute("aria-description", figure.dataset.hint);
            }
            // The browser's own tooltips would hide ours.
            for (const title of chart.querySelectorAll(".jobs-moments title")) {
                title.parentNode.dataset.tip = title.textContent;
                title.remove();
            }
            const place = places.get(figure.dataset.chart);
            if (place !== undefined) {
                show(figure, place);
            }
        }
    }

    function show(figure, place) {
        const chart = figure.querySelector(".jobs-chart");
        const moment = moments(chart)[place];
        if (!moment) {
            hide(figure);
            return;
        }
        places.set(figure.dataset.chart, place);
        const hit = moment.querySelector(".jobs-hit");
        const middle = Number(hit.getAttribute("x")) + Number(hit.getAttribute("width")) / 2;
        const top = Number(hit.getAttribute("y"));
        let line = chart.querySelector(".jobs-cross");
        if (!line) {
            line = document.createElementNS(SVG, "path");
            line.setAttribute("class", "jobs-cross");
            chart.append(line);
        }
        line.setAttribute("d", `M${middle} ${top}v${hit.getAttribute("height")}`);
        let tip = figure.querySelector(".jobs-tip");
        if (!tip) {
            tip = document.createElement("p");
            tip.className = "jobs-tip";
            // Read out after each key, and never while a pointer moves.
            tip.setAttribute("role", "status");
            figure.append(tip);
        }
        tip.hidden = false;
        tip.textContent = moment.dataset.tip;
        tip.setAttribute("aria-live", chart === document.activeElement ? "polite" : "off");
        // Beside the line, on the side with more room.
        const box = chart.getBoundingClientRect();
        const frame = figure.getBoundingClientRect();
        const scale = box.width / chart.viewBox.baseVal.width;
        const left = box.left - frame.left + middle * scale;
        const isLate = left > frame.width / 2;
        tip.style.top = `${box.top - frame.top + top * scale}px`;
        tip.style.left = isLate ? "auto" : `${left + 8}px`;
        tip.style.right = isLate ? `${frame.width - left + 8}px` : "auto";
    }

    function hide(figure) {
        places.delete(figure.dataset.chart);
        figure.querySelector(".jobs-cross")?.remove();
        figure.querySelector(".jobs-tip")?.remove();
    }

    function point(event) {
        const moment = event.target.closest?.(".jobs-moments > *");
        if (moment) {
            show(moment.closest("[data-chart]"), moments(moment.closest(".jobs-chart")).indexOf(moment));
        }
    }

    document.addEventListener("pointermove", point);
    document.addEventListener("pointerdown", point);
    // The first touch of a bar shows its values, the second one opens its jobs.
    let touched = null;
    document.addEventListener("click", (event) => {
        const moment = event.target.closest?.(".jobs-moments > a");
        if (moment && event.pointerType === "touch" && moment !== touched) {
            event.preventDefault();
        }
        touched = moment;
    });
    document.addEventListener("pointerout", (event) => {
        const figure = event.target.closest?.("[data-chart]");
        if (figure && event.pointerType === "mouse" && !event.relatedTarget?.closest?.(".jobs-moments")) {
            hide(figure);
        }
    });
    document.addEventListener("focusout", (event) => {
        if (event.target.matches?.(".jobs-chart")) {
            hide(event.target.closest("[data-chart]"));
        }
    });
    document.addEventListener("keydown", (event) => {
        const chart = event.target;
        if (!chart.matches?.(".jobs-chart") || event.ctrlKey || event.metaKey || event.altKey) {
            return;
        }
        const figure = chart.closest("[data-chart]");
        const last = moments(chart).length - 1;
        const place = places.get(figure.dataset.chart);
        if (event.key in STEPS || event.key === "Home" || event.key === "End") {
            const next = place === undefined ? last : place + (STEPS[event.key] ?? 0);
            const wanted = event.key === "Home" ? 0 : event.key === "End" ? last : next;
            show(figure, Math.max(0, Math.min(last, wanted)));
        } else if (event.key === "Escape" && place !== undefined) {
            hide(figure);
        } else if (event.key === "Enter" && moments(chart)[place]?.hasAttribute("href")) {
            location.assign(moments(chart)[place].getAttribute("href"));
        } else {
            return;
        }
        event.preventDefault();
    });
    document.addEventListener("jobs:refreshed", (event) => prepare(event.target));
    prepare(document);
}
