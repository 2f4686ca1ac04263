// Elements, whose texts are only ever set as text: names and reasons come from strangers.

export const byId = (id) => document.getElementById(id);

/** Return an element; children are elements, or strings that become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Set a text, when it is another: what listens to changes is not to hear of none. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Have a parent's children be those of `items`; one whose key stays keeps its place and focus. */
export function keyed(parent, items, { key, make, update }) {
  const gone = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const name = String(key(item));
    let child = gone.get(name);
    gone.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of gone.values()) child.remove();
}

/** Have a table's body show rows of texts, the first of which is each row's key and heading. */
export function rows(body, found, { link = null } = {}) {
  keyed(body, found, {
    key: (cells) => cells[0],
    make: (cells) => {
      const heading = element("th", { scope: "row" });
      if (link) heading.append(element("a", { href: link(cells[0]) }));
      return element("tr", {}, heading, ...cells.slice(1).map(() => element("td")));
    },
    update: (row, cells) => {
      cells.forEach((text, index) => {
        const cell = row.children[index];
        say(cell.firstElementChild ?? cell, text);
      });
    },
  });
}
