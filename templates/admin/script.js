// Comfort only: every page works without it.
"use strict";
// A box at the head of a list checks all of its rows.
for (const all of document.querySelectorAll("input[data-all]")) {
  const rows = all.closest("form").querySelectorAll("input[name=" + all.dataset.all + "]");
  all.hidden = false;
  all.addEventListener("change", () => { for (const row of rows) row.checked = all.checked; });
}
// What is under way or followed is shown anew, without the rest of the page.
const live = document.querySelector("[data-refresh]");
if (live) {
  const again = async () => {
    try {
      // Nobody need be there: the header keeps no session alive.
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { "Simplejwt-Again": "yes" } });
      if (answer.status >= 500) throw new Error("the server has trouble");
      if (answer.redirected || !answer.ok) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.querySelector("[data-refresh]");
      const here = document.querySelector("[data-refresh]");
      if (!next) return location.reload();
      if (!here.contains(document.activeElement)) here.replaceChildren(...next.childNodes);
    } catch { /* The server is away or has trouble: the next try may find it well. */ }
    setTimeout(again, 1000 * Number(live.dataset.refresh));
  };
  setTimeout(again, 1000 * Number(live.dataset.refresh));
}
