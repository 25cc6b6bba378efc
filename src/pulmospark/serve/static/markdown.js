// The model card's Markdown as elements: headings, lists, tables, quotes, code, emphasis.
// Anything else stays the text that it is.

import { h } from "./dom.js";

/** Elements of a Markdown text; its headings begin at `level`. Front matter is skipped. */
export function markdown(text, level = 2) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split(/\r?\n/);
  const blocks = [];
  while (lines.length > 0) {
    const line = lines[0];
    if (!line.trim()) lines.shift();
    else if (line.startsWith("```")) blocks.push(code(lines));
    else if (/^#{1,6} /.test(line)) blocks.push(heading(lines.shift(), level));
    else if (line.startsWith("|")) blocks.push(table(taken(lines, (next) => next.startsWith("|"))));
    else if (/^[-*] /.test(line)) blocks.push(list(taken(lines, (next) => /^([-*] |\s+\S)/.test(next))));
    else if (line.startsWith("> ")) blocks.push(h("blockquote", {}, inline(taken(lines, (next) => next.startsWith(">")).map((next) => next.slice(2)).join(" "))));
    else blocks.push(h("p", {}, inline(paragraph(lines))));
  }
  return blocks;
}

function taken(lines, fits) {
  const some = [];
  while (lines.length > 0 && fits(lines[0])) some.push(lines.shift());
  return some;
}

function paragraph(lines) {
  const first = lines.shift();
  return [first, ...taken(lines, (next) => next.trim() && !/^(#{1,6} |\||[-*] |> |```)/.test(next))].join(" ");
}

function code(lines) {
  lines.shift();
  const content = taken(lines, (next) => !next.startsWith("```"));
  lines.shift();
  return h("pre", { tabindex: 0 }, h("code", {}, content.join("\n")));
}

function heading(line, level) {
  const [marks] = line.split(" ", 1);
  return h(`h${Math.min(level + marks.length - 1, 6)}`, {}, inline(line.slice(marks.length + 1)));
}

function list(lines) {
  const items = [];
  for (const line of lines) {
    if (/^[-*] /.test(line)) items.push(line.slice(2));
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return h("ul", {}, items.map((item) => h("li", {}, inline(item))));
}

function table(lines) {
  const cells = (line) => line.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  const head = cells(lines[0]);
  const rows = lines.slice(/^[|\s:-]+$/.test(lines[1] ?? "") ? 2 : 1).map(cells);
  return h("div.scroll", {}, h("table", {},
    head.some(Boolean) && h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell))))),
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, inline(first)), rest.map((cell) => h("td", {}, inline(cell))))))));
}

/** Emphasis and code within a line; links show their text and address. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/).map((part) => {
    if (/^`[^`]+`$/.test(part)) return h("code", {}, part.slice(1, -1));
    if (/^\*\*[^*]+\*\*$/.test(part)) return h("strong", {}, part.slice(2, -2));
    if (/^\*[^*]+\*$/.test(part)) return h("em", {}, part.slice(1, -1));
    return part.replace(/\\([\\`*_{}[\]()#+.!|<>-])/g, "$1");
  });
}
