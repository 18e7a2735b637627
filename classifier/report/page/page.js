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

for (const buttons of document.querySelectorAll(".switch")) {
  const charts = buttons.parentElement.querySelectorAll(".chart");
  [...buttons.children].forEach((button, number) => button.addEventListener("click", () => {
    [...buttons.children].forEach((other) => other.setAttribute("aria-pressed", other === button));
    charts.forEach((chart, at) => { chart.hidden = at !== number; });
  }));
}

// The section that is read now is marked in the contents.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const watch = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting) continue;
    links.forEach((a) => a.removeAttribute("aria-current"));
    links.get(target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const id of links.keys()) {
  const part = document.getElementById(id);
  if (part) watch.observe(part);
}
