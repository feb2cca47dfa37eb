// What the parts of the page share: the data, its columns, and names as text. Part one of three of one script.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
// The columns of data.entries, as html.py writes them.
const PATH = 0, TYPE = 1, SIZE = 2, MODE = 3, UID = 4, GID = 5, PACKAGE = 6, PHASE = 7, BY = 8, REASON = 9, LEADS = 10;
const FIRST_ROWS = 300, HUES = 10, SMALLEST = 14, LABEL = 18;
const MOST_HOPS = 64;
const at = (id) => document.getElementById(id);
const entries = data.entries;
let opener = null, openerNumber = -1, asked = -1;

// Names are text and nothing else: what can't be printed, or turns the direction of text, shows as an escape.
function put(element, text) {
  for (const part of text.split(/([\p{C}\p{Zl}\p{Zp}\u3164])/u)) {
    if (!part) continue;
    const code = part.codePointAt(0);
    if (!/^[\p{C}\p{Zl}\p{Zp}\u3164]$/u.test(part)) element.append(part);
    else if (code >= 0xdc80 && code <= 0xdcff) make(element, "span", "escape", "\\x" + (code - 0xdc00).toString(16));
    else make(element, "span", "escape", code < 0x100 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0"));
  }
  return element;
}

function make(parent, tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) name === "escape" ? element.append(text) : put(element, text);
  parent.append(element);
  return element;
}

function path(parent, text) {
  const element = make(parent, "bdi", "path", text);
  element.dir = "ltr";
  return element;
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) { size /= 1000; unit += 1; }
  return (unit ? size.toFixed(1) : size) + " " + units[unit];
}

const total = (rows) => rows.reduce((sum, row) => sum + row[SIZE], 0);
const packageName = (number) => data.packages[number][0] || "no package";
const base = (text) => text.slice(text.lastIndexOf("/") + 1);
const plain = (text) => put(document.createElement("span"), text).textContent;
