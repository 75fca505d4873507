"use strict";
// Static pictures become interactive charts when they come near the screen.
const specs = JSON.parse(document.getElementById("specs").textContent);

async function enliven(chart) {
  const spec = specs[chart.dataset.figure];
  const stage = document.createElement("div");
  stage.className = "live";
  const still = chart.firstElementChild;
  chart.append(stage);
  const narrow = chart.clientWidth < 420;
  const legend = { ...spec.config.legend, columns: narrow ? 1 : spec.config.legend.columns };
  try {
    await window.vegaEmbed(
      stage,
      { ...spec, config: { ...spec.config, legend }, width: "container", autosize: { type: "fit-x", contains: "padding" } },
      { mode: "vega-lite", renderer: "svg", actions: false, ast: true }
    );
    still.remove();
  } catch (problem) {
    stage.remove();
    console.warn(`${chart.dataset.figure}: the static picture stays (${problem.message})`);
  }
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      watcher.unobserve(entry.target);
      enliven(entry.target);
    }
  },
  { rootMargin: "400px" }
);
for (const chart of document.querySelectorAll(".chart[data-figure]")) watcher.observe(chart);

// The table of claims: sort by a column, filter by tier, verdict, grade and text.
const table = document.querySelector("table.claims");
const claims = [...table.tBodies];
const form = document.querySelector("form.filters");
const fields = [...form.querySelectorAll("[data-filter]")];

function filter() {
  let shown = 0;
  for (const claim of claims) {
    const fits = fields.every(({ dataset, value }) =>
      dataset.filter === "text"
        ? claim.textContent.toLowerCase().includes(value.trim().toLowerCase())
        : !value || claim.dataset[dataset.filter] === value
    );
    claim.hidden = !fits;
    shown += fits;
  }
  form.querySelector("output").textContent = `${shown} of ${claims.length} shown`;
}

function sortBy(heading) {
  const key = heading.dataset.sort;
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.querySelectorAll("th[data-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rank = (claim) => (key === "verdict" ? Number(claim.dataset.order) : claim.dataset[key]);
  const compare = (a, b) => (key === "verdict" ? a - b : a.localeCompare(b));
  claims.sort((a, b) => (down ? -1 : 1) * compare(rank(a), rank(b)) || a.dataset.order - b.dataset.order);
  table.append(...claims);
}

for (const heading of table.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => sortBy(heading));
}
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();

function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.matches("tbody") && target.querySelector("details");
  if (details) details.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();
