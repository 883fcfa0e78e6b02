"use strict";
// The page's address holds the whole question (text, opposite, like, weight, stage, count), so that it is its link.

const about = JSON.parse(document.getElementById("about").textContent);
const FIRST = 20, MOST = 384;
const at = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

let like = "";  // name of the picked picture
let count = FIRST;
let asking = null;  // AbortController of the question under way
let waiting = 0;  // timer of the slider

function readAddress() {
  const words = new URLSearchParams(location.search);
  at("text").value = words.get("text") ?? "";
  at("opposite").value = words.get("opposite") ?? "";
  at("weight").value = words.get("weight") ?? "1";
  like = words.get("like") ?? "";
  count = Number(words.get("count")) || FIRST;
  const stages = words.getAll("stage");
  for (const box of document.querySelectorAll("#stages input")) {
    box.checked = stages.length === 0 || stages.includes(box.value);
  }
}

function question() {
  const words = new URLSearchParams();
  const text = at("text").value.trim(), opposite = at("opposite").value.trim();
  if (text) words.set("text", text);
  if (opposite) words.set("opposite", opposite);
  if (like) {
    words.set("like", like);
    if (at("weight").value !== "1") words.set("weight", at("weight").value);
  }
  const boxes = [...document.querySelectorAll("#stages input")];
  const chosen = boxes.filter((box) => box.checked);
  if (chosen.length < boxes.length) for (const box of chosen) words.append("stage", box.value);
  if (count !== FIRST) words.set("count", count);
  return words;
}

// `step`: whether "back" should come back to the view before this one.
async function ask(step) {
  clearTimeout(waiting);
  const words = question();
  const address = words.size ? `/?${words}` : "/";
  if (address !== location.pathname + location.search) {
    history[step ? "pushState" : "replaceState"](null, "", address);
  }
  asking?.abort();
  const mine = asking = new AbortController();
  at("columns").setAttribute("aria-busy", "true");
  const start = performance.now();
  try {
    const response = await fetch(`/api/answer?${words}`, { signal: mine.signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error ?? `The server answers with status ${response.status}.`);
    show(answer, words, performance.now() - start);
    tell("");
  } catch (error) {
    if (mine.signal.aborted) return;
    tell(error instanceof TypeError ? "The server does not answer. Is `pcclip serve` still running?" : error.message);
    at("status").textContent = "";
    at("columns").replaceChildren();  // what is shown answers what is asked
    for (const id of ["note", "more", "up"]) at(id).hidden = true;
    showPicked(null);
  }
  if (mine === asking) at("columns").removeAttribute("aria-busy");
}

function tell(error) {
  at("error").textContent = error;
  at("error").hidden = !error;
}

function show(answer, words, milliseconds) {
  showPicked(answer.picked);
  const asked = words.has("text") || like;
  const columns = answer.columns.map((column) => showColumn(column, words));
  at("columns").style.setProperty("--columns", columns.length);
  at("columns").replaceChildren(...columns);
  const notes = answer.columns.filter((column) => column.note);
  at("note").textContent = notes.map((column) => `${column.stage}: ${column.note}`).join(" ");
  at("note").hidden = !notes.length;
  const shown = answer.columns[0].most.length;
  at("more").hidden = shown < count || count >= MOST || shown >= answer.pictures;
  at("up").hidden = !asked;
  document.title = [words.get("text"), about.title].filter(Boolean).join(" · ");
  const number = answer.pictures.toLocaleString("en");
  at("status").textContent = asked
    ? `${number} pictures in order, ${Math.round(milliseconds)} ms.${shared(answer.columns)}`
    : `A sample of ${shown} of ${number} pictures: type a difference, or pick a picture to start from.`;
}

function showPicked(picked) {
  const name = picked?.name ?? like;
  at("picked").hidden = !name;
  at("text-label").textContent = name ? "But with this difference" : "Difference";
  at("go").textContent = name ? "Search" : "Order";
  at("picked-name").textContent = name;
  at("weight-value").value = Number(at("weight").value).toFixed(1);
  at("picked-image").hidden = !picked;
  if (picked) {
    at("picked-image").src = picked.thumbnail;
    at("picked-link").href = picked.picture;
    at("picked-link").setAttribute("aria-label", `Open ${picked.name}`);
  }
}

function showColumn(column, words) {
  const section = make("section");
  section.dataset.stage = column.stage;
  if (about.stages.length > 1 && (words.has("text") || like)) {
    section.append(make("h2", {}, column.stage));
  }
  const text = words.get("text"), opposite = words.get("opposite");
  const searched = text ? `Like it, but: ${text}` : "Like it";
  section.append(...showGrid("most", like ? searched : text ? `Most: ${text}` : "", column.most));
  if (column.least.length) {
    const jump = make("button", { type: "button", className: "jump" }, "least ↓");
    section.querySelector("h3").append(" ", jump);
    section.append(...showGrid("least", opposite ? `Least: ${opposite}` : `Least: ${text}`, column.least));
  }
  return section;
}

function showGrid(end, title, cards) {
  const grid = make("div", { className: "grid" });
  grid.dataset.end = end;
  grid.append(...cards.map(showCard));
  if (grid.firstChild) grid.firstChild.tabIndex = 0;  // one stop of the Tab key per grid; arrows move inside
  return title ? [make("h3", {}, title), grid] : [grid];
}

function showCard(card) {
  const image = make("img", { loading: "lazy", decoding: "async", alt: "", width: 160, height: 160 });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { className: "missing" }, "gone or unreadable"));
  });
  image.src = card.thumbnail;
  const button = make("button", { type: "button", className: "card", tabIndex: -1, title: card.name }, image);
  button.dataset.name = card.name;
  if (card.score !== null) {
    const score = (card.score < 0 ? "−" : "") + Math.abs(card.score).toFixed(3);
    const line = make("span", { className: "score" });
    line.append(make("span", {}, `#${card.place.toLocaleString("en")}`), make("span", {}, score));
    button.append(line);
  }
  button.append(make("span", { className: "name" }, make("bdi", {}, card.name.split("/").pop().replace(/\.[^.]{1,4}$/, ""))));
  return button;
}

function shared(columns) {
  if (columns.length !== 2) return "";
  const [one, other] = columns.map((column) => new Set(column.most.map((card) => card.name)));
  const both = [...one].filter((name) => other.has(name)).length;
  return ` Of the first ${one.size} of either model ${both} are the same.`;
}

function pick(name) {
  like = name;
  count = FIRST;
  scrollTo({ top: 0 });
  return ask(true);
}

function markSame(card) {
  for (const other of document.querySelectorAll(".card.same")) other.classList.remove("same");
  if (!card) return;
  for (const other of document.querySelectorAll(".card")) {
    other.classList.toggle("same", other !== card && other.dataset.name === card.dataset.name);
  }
}

function moveFrom(card, key) {
  const cards = [...card.parentElement.children];
  const place = cards.indexOf(card);
  const across = cards.filter((other) => other.offsetTop === cards[0].offsetTop).length;
  const next = cards[place + { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key]];
  if (!next) return false;
  card.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  return true;
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  count = FIRST;
  ask(true);
});
at("weight").addEventListener("input", () => {
  at("weight-value").value = Number(at("weight").value).toFixed(1);
  clearTimeout(waiting);
  waiting = setTimeout(ask, 120, false);
});
at("unpick").addEventListener("click", () => pick(""));
at("more").addEventListener("click", () => {
  count = Math.min(2 * count, MOST);
  ask(false);
});
at("up").addEventListener("click", () => {
  scrollTo({ top: 0 });
  at("text").focus({ preventScroll: true });
});
at("copy").addEventListener("click", async () => {
  await ask(true);  // what is typed but not asked yet belongs to the link
  try {
    await navigator.clipboard.writeText(location.href);
    at("copy").textContent = "Copied";
  } catch {
    at("copy").textContent = "Copy it from the address bar";
  }
  setTimeout(() => { at("copy").textContent = "Copy link"; }, 2000);
});
at("columns").addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card) pick(card.dataset.name);
  if (event.target.matches(".jump")) {
    const least = event.target.closest("section").querySelector("[data-end=least]");
    least.previousElementSibling.scrollIntoView();
    least.firstChild.focus({ preventScroll: true });
  }
});
for (const kind of ["mouseover", "focusin"]) {
  at("columns").addEventListener(kind, (event) => markSame(event.target.closest(".card")));
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const card = event.target.closest?.(".card");
  if (event.key === "/" && event.target.type !== "text") {
    event.preventDefault();
    at("text").select();
  } else if (event.key === "Escape" && like) {
    pick("");
  } else if (card && event.key.startsWith("Arrow")) {
    if (moveFrom(card, event.key)) event.preventDefault();
  }
});
addEventListener("popstate", () => {
  readAddress();
  ask(false);
});

for (const stage of about.stages) {
  const box = make("input", { type: "checkbox", value: stage, checked: true });
  box.addEventListener("change", () => {
    if (!document.querySelector("#stages :checked")) box.checked = true;  // one at least
    ask(true);
  });
  at("stages").append(make("label", {}, box, stage));
}
at("stages").hidden = about.stages.length < 2;
about.title = document.title;
if (matchMedia("(hover: hover)").matches) at("text").focus();  // where that opens no keyboard over the page
readAddress();
ask(false);
