"use strict";

// Tables of the class "interactive" sort, filter and download. Without this script they are whole and plain.
const MARKS = ".best"; // shown, but part of no value

for (const table of document.querySelectorAll("table.interactive")) {
  const names = headings(table);
  for (const group of table.tHead.rows.length > 1 ? table.tHead.rows[0].cells : []) group.dataset.dtOrder = "disable";
  sortByNumber(table);
  const view = new DataTable(table, {
    paging: false,
    order: [],
    autoWidth: false,
    layout: { topStart: null, topEnd: null, top: tools, bottomStart: "info", bottomEnd: null },
    language: { search: "Search", info: "_TOTAL_ rows", infoEmpty: "No row", infoFiltered: "of _MAX_" },
  });

  function tools() {
    const bar = document.createElement("div");
    bar.className = "table-tools";
    for (const name of (table.dataset.filters || "").split("|").filter(Boolean)) {
      const filter = choice(name, table, names.indexOf(name));
      if (filter) bar.append(filter);
    }
    const words = labelled("Search", document.createElement("input"));
    words.lastChild.type = "search";
    words.lastChild.addEventListener("input", (event) => view.search(event.target.value).draw());
    const save = document.createElement("button");
    save.type = "button";
    save.textContent = "Download CSV";
    save.addEventListener("click", () => download(table, names, view));
    bar.append(words, save);
    bar.addEventListener("change", (event) => {
      if (event.target.tagName !== "SELECT") return;
      const { value, dataset } = event.target;
      view.column(Number(dataset.column)).search(value, { exact: value !== "" }).draw();
    });
    return bar;
  }
}

// One name a column: where headings have two rows, both.
function headings(table) {
  const rows = [...table.tHead.rows].map((row) =>
    [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(cell.textContent.trim()))
  );
  return rows[0].map((_, i) => rows.map((row) => row[i]).filter(Boolean).join(" "));
}

// Columns whose cells begin with a number, or say that there is none, sort by it.
function sortByNumber(table) {
  const rows = [...table.tBodies[0].rows];
  for (let i = 0; i < rows[0].cells.length; i++) {
    const numbers = rows.map((row) => leading(value(row.cells[i])));
    const known = numbers.filter(Number.isFinite);
    if (!known.length || numbers.some(Number.isNaN)) continue;
    rows.forEach((row, j) => (row.cells[i].dataset.order = numbers[j]));
  }
}

function leading(text) {
  if (text === "" || text === "–" || text.startsWith("not yet run")) return -1e9;
  const found = /^[+-]?[\d,]*\.?\d+(?=$|[\s%])/.exec(text);
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
}

function value(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll(MARKS).forEach((mark) => mark.remove());
  copy.querySelectorAll("br").forEach((line) => line.replaceWith(" "));
  return copy.textContent.trim().replace(/\s+/g, " ");
}

function labelled(name, control) {
  const label = document.createElement("label");
  control.setAttribute("aria-label", name); // that of the label would hold all options too
  label.append(`${name} `, control);
  return label;
}

// A choice among the values of a column; none where there is but one.
function choice(name, table, column) {
  const values = [...new Set([...table.tBodies[0].rows].map((row) => value(row.cells[column])))];
  if (values.length < 2) return null;
  const select = document.createElement("select");
  select.dataset.column = column;
  select.append(new Option("all", ""), ...values.map((text) => new Option(text, text)));
  return labelled(name, select);
}

// The rows that are shown, in their order.
function download(table, names, view) {
  const rows = view.rows({ search: "applied", order: "applied" }).nodes().toArray();
  const lines = [names, ...rows.map((row) => [...row.cells].map(value))];
  const quoted = lines.map((line) => line.map((text) => `"${text.replaceAll('"', '""')}"`).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", quoted.join("\r\n"), "\r\n"], { type: "text/csv" }));
  link.download = `${table.getAttribute("aria-label").toLowerCase().replace(/[^a-z0-9]+/g, "-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}
