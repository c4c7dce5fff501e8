// Refreshes a page while jobs run. [data-refresh] is a progress bar with the address of its status.
// When the status has a new stamp, the script loads the page again and replaces every [data-part].
"use strict";

const QUICK = 400;
const SLOW = 4000;

for (const element of document.querySelectorAll("[data-refresh]")) watch(element);

async function watch(element) {
  let pause = QUICK;
  for (;;) {
    if (document.hidden) await visible();
    if (!element.isConnected) return;
    try {
      const state = await fetchJson(element.dataset.refresh);
      show(element, state);
      const changed = state.stamp !== element.dataset.stamp;
      if (changed) {
        await redraw();
        element.dataset.stamp = state.stamp;
      }
      if (state.ended) return;
      pause = changed ? QUICK : Math.min(SLOW, pause * 1.15);
    } catch (error) {
      element.querySelector(".message").textContent = "The site does not answer; trying again …";
      pause = SLOW;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function fetchJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(response.statusText);
  return response.json();
}

function show(element, state) {
  const bar = element.querySelector("progress");
  element.classList.toggle("ended", state.ended);
  element.classList.toggle("failed", state.status === "FAILURE");
  if (state.total) {
    bar.max = state.total;
    bar.value = state.done;
  } else if (state.ended) {
    bar.max = bar.value = 1;
  } else {
    bar.removeAttribute("value");
  }
  element.querySelector(".message").textContent = state.message;
}

async function redraw() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) throw new Error(response.statusText);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const update = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!update || update.innerHTML === part.innerHTML) continue;
    const [before, after] = [part, update].map((element) => element.querySelector("[data-refresh]"));
    // A bar that already shows the same job is newer than the one of the loaded page.
    if (before && after && before.dataset.refresh === after.dataset.refresh) continue;
    part.replaceChildren(...update.childNodes);
    if (after) watch(after);
  }
}

function visible() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
