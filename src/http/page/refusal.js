// What stands above the targets as long as a changed file is refused: what is wrong with it, in the server's words.
const AT_ONCE = 3;

function showRefusal(section, read) {
  const problems = read?.last_read === "refused" ? read.problems : [];
  showTime(section.querySelector("time"), read?.refused_since);
  const [first, rest] = section.querySelectorAll("ul");
  list(first, problems.slice(0, AT_ONCE));
  list(rest, problems.slice(AT_ONCE));
  const more = Math.max(0, problems.length - AT_ONCE);
  write(section.querySelector("summary"), `and ${more} more`);
  section.querySelector("details").hidden = !more;
  section.hidden = !problems.length;
}

/** By the clock of whoever reads it. */
function showTime(node, at) {
  node.dateTime = at ?? "";
  write(node, at ? new Date(at).toLocaleString() : "");
}

function list(ul, lines) {
  if (ul.children.length === lines.length && lines.every((line, i) => ul.children[i].textContent === line)) return;
  ul.replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
}
