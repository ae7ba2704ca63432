"use strict";

// Tables of the class "interactive" sort, filter and download, by DataTables. Without scripts they are whole and plain.
const ROWS = 25; // on a page of a table
const FEW = 5; // a table of at most this many rows needs no search

dataTables.then(({ default: DataTable }) => {
  for (const table of document.querySelectorAll("table.interactive")) {
    const names = [...table.tHead.rows].at(-1).cells;
    for (const group of table.tHead.rows.length > 1 ? table.tHead.rows[0].cells : []) group.dataset.dtOrder = "disable";
    const { length } = table.tBodies[0].rows, long = length > ROWS, few = length <= FEW;
    const title = table.getAttribute("aria-label");
    const asked = new URLSearchParams(location.search); // ?search=words, or ?Column=value for columns with a choice
    const view = new DataTable(table, {
      paging: long,
      pageLength: ROWS,
      order: [],
      autoWidth: false,
      layout: {
        topStart: few ? null : choices,
        topEnd: { ...(few ? {} : { search: {} }), buttons: [{ extend: "csv", text: "Download CSV", filename: title, bom: true, exportOptions: { customizeData } }] },
        bottomStart: few ? null : "info",
        bottomEnd: long ? "paging" : null,
      },
      language: { search: "Search", info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "No row", infoFiltered: "(_MAX_ in all)" },
    });
    if (!few && asked.get("search")) view.search(asked.get("search")).draw();
    for (const select of view.table().container().querySelectorAll(".table-tools select")) {
      select.value = asked.get(select.ariaLabel) ?? "";
      if (select.value) select.dispatchEvent(new Event("change"));
    }

    // One name a column of the file: where headings have two rows, both.
    function customizeData(data) {
      const rows = [...table.tHead.rows].map((row) =>
        [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(cell.innerText.trim()))
      );
      const joined = rows[0].map((_, i) => rows.map((row) => row[i]).filter(Boolean).join(" "));
      data.headerStructure = [joined.map((text) => ({ title: text, colSpan: 1, rowSpan: 1 }))];
      data.header = joined;
    }

    function choices() {
      const bar = document.createElement("div");
      bar.className = "table-tools";
      for (const name of (table.dataset.filters || "").split("|").filter(Boolean)) {
        const column = [...names].findIndex((cell) => cell.textContent.trim() === name);
        const values = new Set([...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim()));
        if (values.size > 1) bar.append(choice(name, column, [...values].sort()));
      }
      return bar;
    }

    function choice(name, column, values) {
      const label = document.createElement("label");
      const select = document.createElement("select");
      select.setAttribute("aria-label", name); // that of the label would hold all options too
      select.append(new Option("all", ""), ...values.map((text) => new Option(text, text)));
      select.addEventListener("change", () => view.column(column).search(select.value, { exact: select.value !== "" }).draw());
      label.append(`${name} `, select);
      return label;
    }
  }
});
