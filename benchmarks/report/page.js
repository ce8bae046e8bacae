// The page reads well without this: it sorts tables where a heading is pressed, and opens everything for print.
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const of = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [of(one), of(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const by = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
        return up ? by : -by;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details.row")) one.open = true;
});
