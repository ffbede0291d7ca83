// Filter, sort and keys. What is chosen stands in the address, so that it can be kept and passed on.
let more = 0;

function controls() {
  restore();
  for (const state of STATES) $("states").append(stateButton(state));
  for (const head of fleet.table.tHead.rows[0].cells) head.replaceChildren(sortButton(head));
  $("filter").addEventListener("input", choose);
  $("none").querySelector("button").addEventListener("click", showAll);
  fleet.table.addEventListener("click", ({ target }) => {
    if (target.classList.contains("name")) rowOf(target).toggle(serverNow());
  });
  document.addEventListener("keydown", onKey);
}

function stateButton(state) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = state;
  button.hidden = true;
  button.addEventListener("click", () => {
    fleet.wanted.state = fleet.wanted.state === state ? null : state;
    choose();
  });
  return button;
}

function sortButton(head) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => {
    const { wanted } = fleet;
    wanted.reversed = wanted.sort === head.dataset.sort && !wanted.reversed;
    wanted.sort = head.dataset.sort;
    choose();
  });
  return button;
}

function showAll() {
  $("filter").value = "";
  fleet.wanted.state = null;
  choose();
  $("filter").focus();
}

/** Takes what is in the controls. */
function choose() {
  const query = $("filter").value.trim().toLowerCase();
  const { wanted } = fleet;
  wanted.words = query.split(/\s+/).filter(Boolean);
  keep(query);
  showTools();
  say(`${plural(fleet.matching(), "target")} shown`);
}

/** Shows what is chosen, and what there is to choose from. */
function showTools() {
  const { wanted } = fleet;
  const counts = fleet.counts();
  for (const button of $("states").children) {
    const [state, pressed] = [button.className, button.className === wanted.state];
    button.hidden = !counts.get(state) && !pressed;
    button.setAttribute("aria-pressed", String(pressed));
    write(button, `${counts.get(state)} ${state}`);
  }
  for (const head of fleet.table.tHead.rows[0].cells) {
    const direction = SORTS[wanted.sort][1] * (wanted.reversed ? -1 : 1);
    if (head.dataset.sort === wanted.sort) head.ariaSort = direction > 0 ? "ascending" : "descending";
    else head.removeAttribute("aria-sort");
  }
  arrange();
}

/** Puts the rows in order, and makes more of them as long as some are missing. */
function arrange() {
  clearTimeout(more);
  const shown = fleet.arrange(serverNow());
  $("none").hidden = shown > 0 || !fleet.rows.size;
  if (shown <= fleet.portion) return;
  fleet.portion += PORTION;
  more = setTimeout(arrange, 20);
}

function keep(query) {
  const { state, sort, reversed } = fleet.wanted;
  const kept = new URLSearchParams();
  if (query) kept.set("q", query);
  if (state) kept.set("state", state);
  if (sort !== "state" || reversed) kept.set("sort", reversed ? `-${sort}` : sort);
  history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname);
}

function restore() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const sort = kept.get("sort") ?? "";
  const { wanted } = fleet;
  $("filter").value = kept.get("q") ?? "";
  wanted.words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (STATES.includes(kept.get("state"))) wanted.state = kept.get("state");
  if (Object.hasOwn(SORTS, sort.replace("-", ""))) wanted.sort = sort.replace("-", "");
  wanted.reversed = sort === `-${wanted.sort}`;
}

function rowOf(node) {
  return fleet.rows.get(node.closest("tbody").dataset.name);
}

function shownRows() {
  return Array.from(fleet.table.tBodies).filter((body) => !body.hidden);
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "/" && target !== $("filter")) $("filter").focus();
  else if (key === "Escape" && target === $("filter")) showAll();
  else if (key === "ArrowDown" && target === $("filter")) move(target, () => 0);
  else if (key === "ArrowDown" && target.closest("tbody")) move(target, (at) => at + 1);
  else if (key === "ArrowUp" && target.closest("tbody")) move(target, (at) => at - 1);
  else if (key === "Home" && target.closest("tbody")) move(target, () => 0);
  else if (key === "End" && target.closest("tbody")) move(target, (at, last) => last);
  else return;
  event.preventDefault();
}

/** Moves the focus to another target. */
function move(from, to) {
  const rows = shownRows();
  const last = rows.length - 1;
  const at = to(rows.indexOf(from.closest("tbody")), last);
  if (at < 0) $("filter").focus();
  else rows[Math.min(at, last)]?.querySelector("button").focus();
}
