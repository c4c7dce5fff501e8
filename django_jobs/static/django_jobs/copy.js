/* Adds a copy button to each element with data-copy; the attribute is the button's label. */
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

    // Browsers offer the clipboard only over HTTPS.
    if (navigator.clipboard) {
        offerAll(document);
        document.addEventListener("jobs:refreshed", (event) => offerAll(event.target));
    }
}
