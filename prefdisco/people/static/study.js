// Waits for the agent's turn and shows the new page; Enter sends an answer. The pages work without it.
"use strict";

const waiting = document.getElementById("waiting");
if (waiting) {
  const text = document.getElementById("waiting-text");
  const said = text.textContent;
  const since = Date.now();
  let pause = 400;
  const look = async () => {
    try {
      const { place } = await (await fetch("/status", { cache: "no-store" })).json();
      if (place !== waiting.dataset.place) {
        location.reload();
        return;
      }
      const seconds = Math.round((Date.now() - since) / 1000);
      const now = seconds < 8 ? said : seconds < 60 ? `${said} It can take a minute.` : `${said} This takes long; you can come back later.`;
      if (text.textContent !== now) text.textContent = now;
    } catch {
      const lost = "The connection is lost. Trying again; nothing is lost.";
      if (text.textContent !== lost) text.textContent = lost;
    }
    pause = Math.min(pause * 1.3, 3000);
    setTimeout(look, pause);
  };
  setTimeout(look, pause);
}

const box = document.getElementById("text");
if (box) {
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      box.form.requestSubmit(document.getElementById("send"));
    }
  });
  box.form.scrollIntoView({ block: "nearest" });
}
