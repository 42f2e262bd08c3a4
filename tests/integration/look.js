// What a reader sees of a report: run inside the page, tells the page around it.
const number = (text) => text.match(/[\d.]+/g).map(Number);
const shine = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = number(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
for (const folded of document.querySelectorAll("details")) folded.open = true;
const heading = document.querySelectorAll(".leaders thead button")[1];
if (heading) heading.click();
const facts = {
  width: innerWidth, page: document.documentElement.scrollWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  sections: [...document.querySelectorAll("section")].filter((s) => s.offsetHeight > 40).map((s) => s.id),
  fetched: performance.getEntriesByType("resource").map((entry) => entry.name),
  scripts: document.scripts.length,
  scores: [...document.querySelectorAll(".leaders tbody td:nth-child(2)")].map((td) => Number(td.dataset.sort)),
  outside: [], small: [], pale: [], cut: [],
};
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || ["SCRIPT", "TITLE", "DESC"].includes(node.tagName.toUpperCase())) continue;
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  if (!box.width) continue;
  const name = `${node.tagName} ${node.textContent.slice(0, 40)}`;
  const plot = node.closest("svg");
  if (!node.closest(".scroll") && box.right > innerWidth + 1) facts.outside.push(name);
  const scale = plot ? plot.getBoundingClientRect().width / plot.viewBox.baseVal.width : 1;
  if (parseFloat(style.fontSize) * scale < 10.5) facts.small.push(name);
  if (plot) {
    const whole = plot.getBoundingClientRect();
    if (box.left < whole.left - 1 || box.right > whole.right + 1) facts.cut.push(name);
  }
  const colours = [number(plot ? style.fill : style.color), behind(node)];
  const [one, two] = colours.map(shine).sort((a, b) => b - a);
  if ((one + 0.05) / (two + 0.05) < 4.5 && !node.closest(".zero")) facts.pale.push(name);
}
parent.postMessage(JSON.stringify(facts), "*");
