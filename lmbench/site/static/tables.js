"use strict";
// Tables that sort by a press on a heading, filter by words, and come as CSV.
(() => {
  const { element } = lmbench;
  const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
  const key = (cell) => (cell.dataset.v !== undefined ? Number(cell.dataset.v) : text(cell));
  const order = new Intl.Collator("en", { numeric: true }).compare;

  // Numbers before texts; what is not known stays last whichever way.
  const compare = (a, b, sign) => {
    const unknown = [a, b].map((one) => one === "-" || one === "" || Number.isNaN(one));
    if (unknown[0] || unknown[1]) return unknown[0] - unknown[1];
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * order(a, b);
  };

  const sort = (table, heading) => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[heading.cellIndex]), row]);
    rows.sort((a, b) => compare(a[0], b[0], descending ? -1 : 1));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  const rowsOf = (table) => [...table.rows].filter((row) => !row.hidden).map((row) =>
    [...row.cells].map((cell) => (cell.dataset.v !== undefined ? Number(cell.dataset.v) : text(cell))));

  const filter = (table, words, count) => {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => content.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  };

  lmbench.table = (table) => {
    for (const heading of table.dataset.fixed === undefined ? table.tHead.rows[0].cells : []) {
      const button = element("button", { type: "button" }, ...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
    const name = table.dataset.name;
    const tools = element("div", { class: "tools" });
    if (table.dataset.filter !== undefined && table.tBodies[0].rows.length > 3) {
      const input = element("input", { type: "search", "aria-label": `Filter: ${name}`, placeholder: "filter by words" });
      const count = element("output", {}, `${table.tBodies[0].rows.length} rows`);
      input.addEventListener("input", () => filter(table, input.value, count));
      tools.append(input, count);
    }
    const save = element("button", { type: "button", "aria-label": `CSV: ${name}` }, "CSV");
    save.addEventListener("click", () => lmbench.download(name, rowsOf(table)));
    tools.append(save);
    table.parentElement.before(tools);
  };

  // A table from rows of [shown, value] or texts.
  lmbench.makeTable = (name, head, rows) => {
    const table = element("table", { class: "data", "data-name": name }, element("caption", {}, name),
      element("thead", {}, element("tr", {}, ...head.map((one) => element("th", { scope: "col" }, one)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell, place) => {
        const [shown, value] = Array.isArray(cell) ? cell : [cell, undefined];
        const attributes = place === 0 ? { scope: "row" } : { class: value === undefined ? "" : "num" };
        if (value !== null && value !== undefined && Number.isFinite(value)) attributes["data-v"] = value;
        return element(place === 0 ? "th" : "td", attributes, shown === null || shown === undefined ? "-" : String(shown));
      })))));
    const region = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, table);
    const whole = element("div", {}, region);
    lmbench.table(table);
    return whole;
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll("table.data")) lmbench.table(table);
  });
})();
