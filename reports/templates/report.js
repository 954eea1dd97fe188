"use strict";
// Tables that sort, pictures behind the cells of the confusion matrix, and corrections.csv. Nothing is fetched or sent.

const data = JSON.parse(document.getElementById("data").textContent);

function sortBy(table, column, button) {
  const body = table.tBodies[0];
  const header = button.closest("th");
  const descending = header.getAttribute("aria-sort") === "ascending";
  const value = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const rows = [...body.rows].sort((a, b) => compare(value(a), value(b)));
  body.append(...(descending ? rows.reverse() : rows));
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sorts")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, column, button));
  });
}

// The pictures behind a cell

const dialog = document.querySelector("dialog");

function openCell(key, title) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("ul").replaceChildren(
    ...data.cells[key].map((picture) => {
      const item = document.createElement("li");
      const figure = item.appendChild(document.createElement("figure"));
      const image = figure.appendChild(document.createElement("img"));
      image.src = picture.src;
      image.alt = "";
      const caption = figure.appendChild(document.createElement("figcaption"));
      caption.appendChild(document.createElement("bdi")).textContent = picture.path;
      return item;
    }),
  );
  dialog.showModal();
}

for (const button of document.querySelectorAll("button[data-cell]")) {
  button.addEventListener("click", () => openCell(button.dataset.cell, button.getAttribute("aria-label")));
}
dialog?.querySelector("button").addEventListener("click", () => dialog.close());

// corrections.csv: what the run obeyed already, then what is ticked; a later word on the same picture counts.

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function corrections() {
  const rows = new Map(data.earlier);
  for (const tick of document.querySelectorAll("input[data-path]:checked")) {
    const choice = tick.closest("[data-row]").querySelector("select");
    rows.set(tick.dataset.path, choice ? choice.value : "drop");
  }
  return rows;
}

function asCsv(rows) {
  return ["path,label", ...[...rows].map((row) => row.map(quoted).join(","))].join("\n") + "\n";
}

const save = document.getElementById("save");
if (save) {
  const count = document.getElementById("count");
  const tell = () => {
    const rows = corrections().size;
    count.textContent = count.dataset.text.replace("{count}", rows);
    save.disabled = rows === 0;
  };
  document.addEventListener("change", tell);
  tell();
  document.getElementById("surest")?.addEventListener("click", () => {
    for (const tick of document.querySelectorAll("input[data-sure]")) tick.checked = true;
    tell();
  });
  save.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([asCsv(corrections())], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers begin to save later
  });
  // Choosing what is right says that it was wrong.
  document.addEventListener("change", (event) => {
    if (event.target.matches("#labels select")) {
      event.target.closest("[data-row]").querySelector("input[data-path]").checked = true;
      tell();
    }
  });
}
