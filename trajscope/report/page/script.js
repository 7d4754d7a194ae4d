"use strict";
const root = document.documentElement;
const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");

function showTheme(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  themeButton.textContent = "Theme: " + theme;
}

themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
  showTheme(next);
});

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // A page opened from disk may not write to the clipboard: select, so that Ctrl+C does.
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Selected";
    }
  });
}

function curvesAsCsv() {
  const tables = JSON.parse(document.getElementById("curves").textContent);
  const lines = ["figure,row,column,value"];
  for (const [figure, columns] of Object.entries(tables))
    for (const [column, values] of Object.entries(columns))
      values.forEach((value, row) =>
        lines.push([figure, row, column, value === null ? "" : value].join(",")));
  return lines.join("\n") + "\n";
}

document.getElementById("csv").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([curvesAsCsv()], { type: "text/csv" }));
  link.download = "trajscope-curves.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

document.getElementById("print").addEventListener("click", () => print());
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.opened = "";
  }
});
addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-opened]")) {
    folded.open = false;
    delete folded.dataset.opened;
  }
});
root.classList.add("scripted");
