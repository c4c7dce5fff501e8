/* Adds a button to each text that is marked with data-copy, which holds the button's label. */
"use strict";
{
    function offer(text) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "jobs-button jobs-copy";
        button.textContent = text.dataset.copy;
        button.addEventListener("click", async() => {
            await navigator.clipboard.writeText(text.textContent);
            button.classList.add("jobs-copied");
        });
        text.before(button);
    }

    function offerAll(root) {
        root.querySelectorAll("[data-copy]").forEach(offer);
    }

    // A page without TLS has no clipboard.
    if (navigator.clipboard) {
        offerAll(document);
        document.addEventListener("jobs:renewed", (event) => offerAll(event.target));
    }
}
