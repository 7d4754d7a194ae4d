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

const tables = JSON.parse(document.getElementById("curves").textContent);

function cell(value) {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

function allAsCsv() {
  const lines = ["figure,row,column,value"];
  for (const [figure, columns] of Object.entries(tables))
    for (const [column, values] of Object.entries(columns))
      values.forEach((value, row) => lines.push([figure, row, column, value].map(cell).join(",")));
  return lines.join("\n") + "\n";
}

function tableAsCsv(columns) {
  const names = Object.keys(columns);
  const rows = columns[names[0]].map((_, row) => names.map((name) => columns[name][row]));
  return [names, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

// A figure of several runs has a table of each: name.1, name.2, ...
function figureAsCsv(name) {
  if (tables[name]) return tableAsCsv(tables[name]);
  const own = Object.keys(tables).filter((each) => each.startsWith(name + "."));
  return own.map((each) => each + "\n" + tableAsCsv(tables[each])).join("\n");
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Colours are variables of the page, which a picture on its own does not know.
async function asPng(drawing) {
  const style = getComputedStyle(root);
  const copy = drawing.cloneNode(true);
  const [, , width, height] = copy.getAttribute("viewBox").split(" ").map(Number);
  const used = new Set(drawing.outerHTML.match(/--[\w-]+(?=\))/g));
  used.add("--background");
  const colours = [...used].map((name) => name + ":" + style.getPropertyValue(name));
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", 2 * width);
  copy.setAttribute("height", 2 * height);
  copy.setAttribute("style", colours.join(";") + ";font-family:sans-serif");
  for (const text of copy.querySelectorAll("text"))
    text.style.cssText += ";stroke:var(--background);stroke-width:3px;paint-order:stroke";
  const picture = new Image();
  picture.src = "data:image/svg+xml," + encodeURIComponent(copy.outerHTML);
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width + 48;
  canvas.height = 2 * height + 48;
  const brush = canvas.getContext("2d");
  brush.fillStyle = style.getPropertyValue("--background");
  brush.fillRect(0, 0, canvas.width, canvas.height);
  brush.drawImage(picture, 24, 24);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// Where the clipboard is closed, as to some browsers on pages from disk, a file is saved.
async function take(button, type, name, made) {
  const blob = Promise.resolve(made).then((found) => new Blob([found], { type }));
  try {
    await navigator.clipboard.write([new ClipboardItem({ [type]: blob })]);
    button.textContent = "Copied";
  } catch {
    save(await blob, name);
    button.textContent = "Saved";
  }
}

for (const button of document.querySelectorAll("button[data-csv]")) {
  const name = button.dataset.csv;
  button.addEventListener("click", () =>
    take(button, "text/plain", name + ".csv", figureAsCsv(name)));
}

for (const button of document.querySelectorAll("button[data-png]")) {
  const name = button.dataset.png;
  button.addEventListener("click", () => {
    const drawing = document.getElementById(name).querySelector("svg.drawing");
    take(button, "image/png", name + ".png", asPng(drawing));
  });
}

document.getElementById("csv").addEventListener("click", () =>
  save(new Blob([allAsCsv()], { type: "text/csv" }), "trajscope-curves.csv"));

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
