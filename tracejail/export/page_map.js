// Part two: the treemap, drawn and walked through.

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
