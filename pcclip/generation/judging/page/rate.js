"use strict";
const sheet = JSON.parse(document.getElementById("sheet").textContent);
const cards = [...document.querySelectorAll("article")];
const rater = document.getElementById("rater");
const nameKey = "pcclip-rate/" + sheet.page + "/rater";
let entries = {}, at = 0, active = 0;

// Entries are kept by page and rater, so that a second rater does not see the first one's.
function storageKey() { return "pcclip-rate/" + sheet.page + "/entries/" + rater.value.trim(); }
function warn(text) {
  const box = document.getElementById("warning");
  box.textContent = text;
  box.hidden = !text;
}
function keep() {
  try {
    localStorage.setItem(storageKey(), JSON.stringify(entries));
    localStorage.setItem(nameKey, rater.value);
    warn("");
  } catch {
    warn("This browser does not keep your entries: export the CSV before you close the page.");
  }
}
function recall() {
  let stored = null;
  try { stored = JSON.parse(localStorage.getItem(storageKey())); } catch { /* nothing that can be read */ }
  entries = stored && typeof stored === "object" ? stored : {};
}
function entry(card) { return (entries[card.dataset.id] ??= {}); }
function open(card) {
  const mine = entries[card.dataset.id] || {};
  return sheet.criteria.filter((name) => !mine[name]).length;
}
function fill() {
  for (const card of cards) {
    const mine = entries[card.dataset.id] || {};
    for (const input of card.querySelectorAll("input")) {
      if (input.type === "radio") input.checked = mine[input.dataset.criterion] === input.value;
      else input.value = mine[input.dataset.column] || "";
    }
  }
}
function count() {
  const done = cards.filter((card) => open(card) === 0).length;
  document.getElementById("done").value = done;
  document.getElementById("count").textContent = `${at + 1} of ${cards.length}, ${done} rated`;
}
function mark() {
  cards[at].querySelectorAll("fieldset").forEach((set, n) => set.classList.toggle("active", n === active));
}
function show(number) {
  at = Math.max(0, Math.min(cards.length - 1, number));
  cards.forEach((card, n) => { card.hidden = n !== at; });
  const mine = entries[cards[at].dataset.id] || {};
  active = Math.max(0, sheet.criteria.findIndex((name) => !mine[name]));
  mark();
  count();
  window.scrollTo(0, 0);
}
function choose(input) {
  input.checked = true;
  entry(cards[at])[input.dataset.criterion] = input.value;
  keep();
  count();
}
function cell(value) {
  let text = String(value ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
  if (/^\s*[=+\-@]/.test(text)) text = "'" + text; // no formula in a spreadsheet
  return /[",;\t]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
function csv() {
  const lines = sheet.rows.map((row) => {
    const mine = entries[row.id] || {};
    return sheet.columns.map((name) => cell(name in row ? row[name] : mine[name])).join(",");
  });
  return "\ufeff" + [sheet.columns.join(","), ...lines].join("\r\n") + "\r\n";
}
function save() {
  const name = rater.value.trim().replace(/[^\p{L}\p{N}_-]+/gu, "_");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = name ? `rate-${name}.csv` : "rate-filled.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
document.addEventListener("change", (event) => {
  const input = event.target;
  if (input === rater) { recall(); fill(); keep(); show(0); }
  else if (input.type === "radio") {
    active = sheet.criteria.indexOf(input.dataset.criterion);
    choose(input);
    mark();
  }
});
document.addEventListener("input", (event) => {
  const column = event.target.dataset.column;
  if (column) { entry(cards[at])[column] = event.target.value; keep(); }
});
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "radio";
  if (typing && (event.key === "Escape" || event.key === "Enter")) { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const sets = cards[at].querySelectorAll("fieldset");
  if (/^[1-9]$/.test(event.key)) {
    const input = sets[active].querySelectorAll("input")[Number(event.key) - 1];
    if (!input) return;
    choose(input);
    if (active + 1 < sets.length) active += 1;
    mark();
  } else if (event.key === "ArrowDown") { active = Math.min(active + 1, sets.length - 1); mark(); }
  else if (event.key === "ArrowUp") { active = Math.max(active - 1, 0); mark(); }
  else if (event.key === "ArrowRight" || event.key === "Enter") {
    if (event.target instanceof HTMLButtonElement && event.key === "Enter") return;
    show(at + 1);
  } else if (event.key === "ArrowLeft") show(at - 1);
  else if (event.key === "o") cards[at].querySelector("input[data-column=objects]").focus();
  else if (event.key === "u") {
    const next = cards.findIndex((card) => open(card) > 0);
    if (next >= 0) show(next);
  } else return;
  event.preventDefault();
});
document.getElementById("export").addEventListener("click", save);
document.addEventListener("click", (event) => {
  if (event.target.dataset && event.target.dataset.go) show(at + Number(event.target.dataset.go));
});
try { rater.value = localStorage.getItem(nameKey) || ""; } catch { /* not kept */ }
recall();
fill();
keep();
show(0);
