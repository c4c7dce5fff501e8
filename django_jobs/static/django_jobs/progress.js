// Updates each [data-job-status] until its job has ended, then dispatches a "job-ended" event.
// It is a module, so it runs once for all progress bars of a page.

const QUICK = 500;
const SLOW = 5000;
const ENDED = new Set(["SUCCESS", "FAILURE", "REVOKED"]);

for (const element of document.querySelectorAll("[data-job-status]")) watch(element);

async function watch(element) {
  let pause = QUICK;
  let last = "";
  while (!ENDED.has(element.dataset.jobState)) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (document.hidden) await visible();
    if (!element.isConnected) return;
    try {
      const response = await fetch(element.dataset.jobStatus, { credentials: "same-origin" });
      // The job is deleted, or the signature of the address has expired.
      if (response.status === 403 || response.status === 404) return;
      if (!response.ok) throw new Error(response.statusText);
      const state = await response.json();
      const changed = state.text + state.done !== last;
      last = state.text + state.done;
      pause = changed ? QUICK : Math.min(SLOW, pause * 1.3);
      show(element, state);
    } catch {
      pause = Math.min(SLOW * 6, pause * 2);
    }
  }
}

function show(element, state) {
  const bar = element.querySelector("progress");
  if (state.ended) {
    bar.max = bar.value = 1;
  } else if (state.total && state.done !== null) {
    bar.max = state.total;
    bar.value = state.done;
  } else {
    bar.removeAttribute("value");
  }
  element.querySelector("[data-job-text]").textContent = state.text;
  element.dataset.jobState = state.status;
  if (!state.ended) return;
  element.dispatchEvent(new CustomEvent("job-ended", { bubbles: true, detail: state }));
  if ("jobReload" in element.dataset) location.reload();
}

function visible() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
