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

// --- head ---

put(at("title"), "Jail of " + data.title);
put(at("command"), data.command.join(" "));
function fact(name, value, kind) {
  const one = make(at("facts"), "div");
  make(one, "dt", "", name);
  make(one, "dd", kind || "", value);
}
fact("State", data.clean ? "clean" : "not clean: the last run still missed something", data.clean ? "good" : "bad");
fact("Paths", String(entries.length));
fact("Size", bytes(total(entries)));
// A directory is in many packages, and no reason to name one.
const owners = new Set(entries.filter((row) => row[TYPE] !== "dir").map((row) => row[PACKAGE]));
fact("Packages", String([...owners].filter((number) => data.packages[number][0]).length));
fact("Host", [...data.host].filter(Boolean).join(", "));
if (data.user[0] || data.user[1]) fact("User", `${data.user[0]} ${data.user[1]}:${data.user[2]}`.trim());
if (data.listens.length) fact("Listens", data.listens.join(", "));

// --- treemap: squarified (Bruls, Huizing, van Wijk) ---

function squarify(items, x, y, width, height, place) {
  const sum = items.reduce((all, item) => all + item.size, 0);
  if (!sum || width <= 0 || height <= 0) return;
  const scale = width * height / sum;
  let start = 0;
  while (start < items.length) {
    const side = Math.min(width, height);
    let end = start, area = 0, worst = Infinity;
    while (end < items.length) {
      const grown = area + items[end].size * scale;
      const large = items[start].size * scale, small = items[end].size * scale;
      const ratio = Math.max(side * side * large / (grown * grown), grown * grown / (side * side * small));
      if (ratio > worst) break;
      worst = ratio; area = grown; end += 1;
    }
    const thick = area / side;
    let along = 0;
    for (const item of items.slice(start, end)) {
      const long = item.size * scale / thick;
      if (width >= height) place(item, x, y + along, thick, long);
      else place(item, x + along, y, long, thick);
      along += long;
    }
    if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    start = end;
  }
}

const bySize = (one, other) => other.size - one.size;
const groups = data.packages.map((_, number) => ({ number, size: 0, items: [] }));
entries.forEach((row, number) => {
  if (row[SIZE] > 0) groups[row[PACKAGE]].items.push({ number, size: row[SIZE] });
});
for (const group of groups) {
  group.items.sort(bySize);
  group.size = group.items.reduce((sum, item) => sum + item.size, 0);
}
groups.sort(bySize);
let hue = 0;
for (const group of groups) group.hue = data.packages[group.number][0] ? "hue" + (hue++ % HUES) : "hue-none";
let tiles = [];

function box(element, x, y, width, height) {
  element.style.left = x + "px";
  element.style.top = y + "px";
  element.style.width = Math.max(0, width) + "px";
  element.style.height = Math.max(0, height) + "px";
}

function draw() {
  const map = at("map"), active = document.activeElement && tiles.includes(document.activeElement) ? document.activeElement.dataset.number : null;
  map.replaceChildren();
  tiles = [];
  const shown = groups.filter((group) => group.size > 0);
  if (!shown.length) make(map, "p", "says", "No file of it has any bytes.");
  squarify(shown, 0, 0, map.clientWidth, map.clientHeight, (group, x, y, width, height) => {
    const element = make(map, "div", "group " + group.hue);
    element.setAttribute("role", "presentation");
    box(element, x + 1, y + 1, width - 2, height - 2);
    const head = width > 56 && height > 44 ? LABEL : 0;
    if (head) make(element, "span", "", packageName(group.number) + "  " + bytes(group.size)).setAttribute("aria-hidden", "true");
    const inner = (width - 6) * (height - 6 - head);
    const large = group.items.filter((item) => item.size / group.size * inner >= SMALLEST);
    const small = group.items.length - large.length;
    const items = [...large];
    if (small) items.push({ number: -1, size: group.items.slice(large.length).reduce((sum, item) => sum + item.size, 0), small });
    items.sort(bySize);
    squarify(items, 2, 2 + head, width - 6, height - 6 - head, (item, left, top, wide, high) => tile(element, group, item, left, top, wide, high));
  });
  if (tiles.length) tiles[0].tabIndex = 0;
  const again = active !== null && tiles.find((one) => one.dataset.number === active);
  if (again) focusTile(again);
}

function tile(parent, group, item, left, top, wide, high) {
  const element = make(parent, "div", item.number === asked && asked >= 0 ? "tile asked" : "tile");
  box(element, left, top, wide, high);
  const name = item.number < 0 ? `${item.small} smaller files` : entries[item.number][PATH];
  if (wide > 34 && high > 15) put(element, item.number < 0 ? name : base(name));
  element.setAttribute("role", "option");
  element.setAttribute("aria-label", `${plain(name)}, ${bytes(item.size)}, ${plain(packageName(group.number))}`);
  element.tabIndex = -1;
  element.dataset.number = item.number;
  element.title = `${plain(name)}\n${bytes(item.size)}, ${plain(packageName(group.number))}`;
  const open = () => {
    if (item.number >= 0) return why(item.number, element);
    at("package").value = String(group.number);
    filter();
    at("paths").scrollIntoView();
    return at("search").focus();
  };
  element.addEventListener("click", open);
  element.addEventListener("focus", () => { at("map-says").replaceChildren(); put(at("map-says"), `${name}: ${bytes(item.size)}, ${packageName(group.number)}`); });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
  });
  tiles.push(element);
}

function focusTile(element) {
  for (const one of tiles) one.tabIndex = -1;
  element.tabIndex = 0;
  element.focus();
}

function beside(from, key) {
  const one = from.getBoundingClientRect();
  const across = key === "ArrowLeft" || key === "ArrowRight", back = key === "ArrowLeft" || key === "ArrowUp";
  let best = null, least = Infinity;
  for (const element of tiles) {
    if (element === from) continue;
    const other = element.getBoundingClientRect();
    const gap = across ? (back ? one.left - other.right : other.left - one.right) : (back ? one.top - other.bottom : other.top - one.bottom);
    if (gap < -1) continue;
    // How far to the side of this tile's middle the other one lies.
    const middle = across ? one.top + one.height / 2 : one.left + one.width / 2;
    const low = across ? other.top : other.left, high = across ? other.bottom : other.right;
    const aside = middle < low ? low - middle : middle > high ? middle - high : 0;
    const far = Math.max(gap, 0) + 3 * aside;
    if (far < least) { least = far; best = element; }
  }
  return best;
}

at("map").addEventListener("keydown", (event) => {
  const from = document.activeElement;
  if (!tiles.includes(from)) return;
  let to = null;
  if (event.key.startsWith("Arrow")) to = beside(from, event.key);
  else if (event.key === "Home") to = tiles[0];
  else if (event.key === "End") to = tiles[tiles.length - 1];
  else return;
  event.preventDefault();
  if (to) focusTile(to);
});

// --- the list ---

function options(select, every, names) {
  make(select, "option", "", every).value = "";
  for (const [value, text] of names) make(select, "option", "", text).value = value;
}
options(at("type"), "any", [...new Set(entries.map((row) => row[TYPE]))].sort().map((type) => [type, type]));
options(at("package"), "any", data.packages.map((one, number) => [String(number), one[0] ? `${one[0]} ${one[1]}`.trim() : "no package"]));
options(at("phase"), "at any time", data.phases.map((phase, number) => [String(number), "at " + phase]));

let found = [], rows = [];
function filter() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const type = at("type").value, owner = at("package").value, phase = at("phase").value;
  found = [];
  entries.forEach((row, number) => {
    const text = (row[PATH] + " " + data.packages[row[PACKAGE]].join(" ")).toLowerCase();
    if ((!type || row[TYPE] === type) && (!owner || row[PACKAGE] === Number(owner)) && (!phase || row[PHASE] === Number(phase))
      && words.every((word) => text.includes(word))) found.push(number);
  });
  at("count").textContent = `${found.length} of ${entries.length}, ${bytes(found.reduce((sum, number) => sum + entries[number][SIZE], 0))}`;
  fill(FIRST_ROWS);
}

function fill(most) {
  at("list").replaceChildren();
  rows = found.slice(0, most).map((number) => {
    const row = entries[number], element = make(at("list"), "li");
    element.setAttribute("role", "option");
    element.tabIndex = -1;
    path(element, row[PATH] + (row[TYPE] === "link" ? " \u2192 " + row[LEADS] : ""));
    make(element, "span", "soft kind", row[TYPE]);
    make(element, "span", "number", row[TYPE] === "file" ? bytes(row[SIZE]) : "");
    make(element, "span", "of", data.packages[row[PACKAGE]][0]);
    element.addEventListener("click", () => why(number, element));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); why(number, element); }
    });
    return element;
  });
  if (rows.length) rows[0].tabIndex = 0;
  at("more").hidden = found.length <= most;
  at("more").textContent = `Show all ${found.length}`;
}

function focusRow(element) {
  for (const one of rows) one.tabIndex = -1;
  element.tabIndex = 0;
  element.focus();
}

at("list").addEventListener("keydown", (event) => {
  const number = rows.indexOf(document.activeElement);
  if (number < 0) return;
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -rows.length, End: rows.length }[event.key];
  if (!step) return;
  event.preventDefault();
  if (event.key === "ArrowUp" && number === 0) at("search").focus();
  else focusRow(rows[Math.max(0, Math.min(rows.length - 1, number + step))]);
});
at("search").addEventListener("input", filter);
at("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && rows.length) { event.preventDefault(); focusRow(rows[0]); }
});
for (const id of ["type", "package", "phase"]) at(id).addEventListener("change", filter);
at("more").addEventListener("click", () => { fill(found.length); if (rows[FIRST_ROWS]) focusRow(rows[FIRST_ROWS]); });

// --- why ---

function why(number, from) {
  if (from) { opener = from; openerNumber = number; }
  const body = at("why-body"), row = entries[number];
  mark(number);
  body.replaceChildren();
  const facts = make(body, "p", "facts soft");
  const owner = data.packages[row[PACKAGE]];
  put(facts, [row[TYPE], row[TYPE] === "file" ? bytes(row[SIZE]) : "", "mode " + row[MODE], `owner ${row[UID]}:${row[GID]}`,
    owner[0] ? `package ${owner[0]} ${owner[1]}`.trim() : "of no package", "first asked for at " + data.phases[row[PHASE]]].filter(Boolean).join(" \u00b7 "));
  const chain = make(body, "ol");
  const seen = new Set();
  for (let hop = number; hop >= 0 && !seen.has(hop) && seen.size < MOST_HOPS; hop = entries[hop][BY]) {
    seen.add(hop);
    const one = hop, item = make(chain, "li"), button = make(item, "button");
    button.type = "button";
    path(button, entries[hop][PATH]);
    button.addEventListener("click", () => why(one));
    make(item, "p", "", entries[hop][REASON]);
  }
  const next = entries.map((one, index) => [one, index]).filter(([one]) => one[BY] === number);
  if (next.length) {
    const more = make(body, "details");
    make(more, "summary", "", `It brought ${next.length} ${next.length === 1 ? "path" : "paths"} itself`);
    const list = make(more, "ol");
    for (const [one, index] of next.slice(0, FIRST_ROWS)) {
      const button = make(make(list, "li"), "button");
      button.type = "button";
      path(button, one[PATH]);
      button.addEventListener("click", () => why(index));
    }
    if (next.length > FIRST_ROWS) make(more, "p", "soft", `and ${next.length - FIRST_ROWS} more`);
  }
  at("why").hidden = false;
  document.body.classList.add("asked");
  at("why").scrollTop = 0;
  at("why").focus({ preventScroll: true });
}

function mark(number) {
  asked = number;
  for (const one of tiles) one.classList.toggle("asked", number >= 0 && Number(one.dataset.number) === number);
}

function close() {
  mark(-1);
  at("why").hidden = true;
  document.body.classList.remove("asked");
  // The treemap is drawn anew where the panel changes its width.
  const back = opener && !opener.isConnected ? tiles.find((one) => Number(one.dataset.number) === openerNumber) : opener;
  opener = null;
  if (!back) return;
  if (tiles.includes(back)) focusTile(back);
  else back.focus({ preventScroll: true });
}
at("close").addEventListener("click", close);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !at("why").hidden) { event.preventDefault(); close(); }
});

// --- what else the manifest says ---

function section(title, hint, heads, lines) {
  if (!lines.length) return;
  const part = make(at("notes"), "section"), head = make(part, "div", "head");
  make(head, "h2", "", `${title} (${lines.length})`);
  make(head, "p", "hint", hint);
  const wide = make(part, "div", "scroll"), table = make(wide, "table");
  const top = make(make(table, "thead"), "tr"), body = make(table, "tbody");
  // So that the keyboard can scroll it.
  wide.tabIndex = 0;
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", title);
  for (const name of heads) make(top, "th", "", name).scope = "col";
  for (const line of lines) {
    const tr = make(body, "tr");
    for (const cell of line) {
      const td = make(tr, "td", typeof cell === "number" ? "number" : "");
      if (typeof cell === "function") cell(td);
      else put(td, String(cell));
    }
  }
}

section("Denied", "the policy keeps these out; --allow lets one in", ["path", "why", "asked for by"], data.denied);
section("Warnings", "what the run could not be sure of", ["warning"], data.warnings.map((one) => [one]));
section("Written places", "all else may be read-only", ["path", "type", "use", "mode", "owner"],
  data.written.map((one) => [one[0], one[1], one[2], one[3], `${one[4]}:${one[5]}`]));
section("Sockets of others", "to be bound into the jail", ["path", "why", "asked for by"], data.sockets);
section("Listens on", "the program's own", ["address"], data.listens.map((one) => [one]));
section("Mounts", "file systems that it needs", ["path", "type"], data.mounts);
section("Phases", "when each path was first asked for", ["phase", "paths", "size", ""], data.phases.map((phase, number) => {
  const mine = entries.filter((row) => row[PHASE] === number);
  return [phase, String(mine.length), bytes(total(mine)), (td) => {
    const button = make(td, "button", "", "show");
    button.type = "button";
    button.setAttribute("aria-label", "show the paths first asked for at " + plain(phase));
    button.addEventListener("click", () => { at("phase").value = String(number); filter(); at("paths").scrollIntoView(); at("search").focus(); });
  }];
}));
section("Exercises", "what drove it while it was learned", ["command"], data.exercises.map((one) => [one]));
section("Absent", "asked for, and not on the host either", ["path", "why", "asked for by"], data.absent);

filter();
draw();
new ResizeObserver(draw).observe(at("map"));
