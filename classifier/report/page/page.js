"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      // Numbers are looked at from the largest down first, names from A to Z.
      const numeric = head.classList.contains("n");
      const now = head.getAttribute("aria-sort");
      const falling = now ? now === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => {
        const cell = row.cells[column];
        return numeric ? Number(cell.dataset.value) : cell.textContent.trim();
      };
      const order = (a, b) => numeric ? value(a) - value(b)
        : value(a).localeCompare(value(b), "en", { numeric: true });
      const rows = [...body.rows].sort((a, b) => falling ? order(b, a) : order(a, b));
      body.append(...rows);
    });
  });
}
for (const input of document.querySelectorAll("[data-filter]")) {
  const body = document.getElementById(input.dataset.filter).tBodies[0];
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
const dialog = document.querySelector("dialog");
for (const chart of document.querySelectorAll(".chart")) {
  chart.addEventListener("click", () => {
    const image = chart.querySelector("img").cloneNode();
    dialog.querySelector("div").replaceChildren(image);
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target.tagName !== "IMG") dialog.close();
});
