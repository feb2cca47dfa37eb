// Part three: the head, the list of paths, why each is there, and what else the manifest says.

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
