// Small helpers. Text of files and catalogues is only ever put into the page as text.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const found = Object.assign(document.createElement(tag), properties);
  found.append(...children);
  return found;
}

export function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => make("option", { value, textContent: text })));
  if (chosen !== undefined && choices.some(([value]) => value === chosen)) select.value = chosen;
}

let timer = 0;

export function notice(text, bad = false) {
  const box = $("notice");
  box.textContent = text;
  box.classList.toggle("bad", bad);
  box.hidden = !text;
  clearTimeout(timer);
  if (text) timer = setTimeout(() => (box.hidden = true), bad ? 12000 : 5000);
}

export const failed = (error) => notice(error.message, true);
