"use strict";
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const make = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const body = document.querySelector("table.nodes tbody");
  const entry = (row) => ({ row, result: row.dataset.result, text: row.textContent.toLowerCase() });
  const rows = all("tr", body).map(entry);
  const filters = document.querySelector(".filters");
  const output = make("output", {});
  const search = make("input", { type: "search", name: "text" });
  const boxes = ["failed", "unknown", "compliant"].map((value) => make("input", { type: "checkbox", value }));

  // Words must all occur. Without a checked result, all results are shown.
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    const results = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const { row, result, text } of rows) {
      const isShown = (!results.size || results.has(result)) && words.every((word) => text.includes(word));
      row.hidden = !isShown;
      count += isShown;
    }
    output.value = `${count} of ${rows.length} nodes`;
  };
  const choices = boxes.map((box) => {
    const number = make("b", {});
    const label = make("label", {}, box, box.value, number);
    label.dataset.result = box.value;
    label.count = () => (number.textContent = rows.filter(({ result }) => result === box.value).length);
    label.count();
    return label;
  });
  const choice = make("fieldset", {}, make("legend", { textContent: "Result" }), ...choices);
  filters.append(choice, make("div", { className: "rest" }, make("label", {}, "Search", search), output));
  filters.addEventListener("input", show);
  filters.hidden = false;

  // Rows without a problem are made on request: a large fleet has thousands.
  const calm = document.querySelector(".calm");
  if (calm) {
    const button = make("button", { type: "button", textContent: "Show" });
    button.addEventListener("click", () => {
      const template = document.querySelector(".calm-row").content.querySelector("tr");
      for (const texts of JSON.parse(document.querySelector(".calm-nodes").textContent)) {
        const row = template.cloneNode(true);
        texts.forEach((text, column) => row.cells[column].append(text));
        rows.push(entry(row));
        body.append(row);
      }
      calm.remove();
      button.remove();
      choices.forEach((label) => label.count());
      show();
    });
    calm.after(" ", button);
  }

  const order = new Intl.Collator("en", { numeric: true });
  all("table.nodes thead th").forEach((head, column) => {
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      all("table.nodes thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const values = new Map(rows.map(({ row }) => [row, row.cells[column].textContent]));
      rows.sort((one, other) => sign * order.compare(values.get(one.row), values.get(other.row)));
      body.append(...rows.map(({ row }) => row));
    });
  });
  document.documentElement.classList.toggle("without-cluster", rows.every(({ row }) => !row.cells[0].textContent));
  show();
})();
