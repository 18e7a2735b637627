const find = (id) => document.getElementById(id);
let desk = null; // classes, keys, queues, token
let queue = null; // name of the one that is open
let place = -1; // in it, where the work goes on
let item = null; // what is shown
let busy = false;

function say(text, problem = false) {
  find("status").textContent = text;
  find("status").classList.toggle("problem", problem);
}

function make(kind, text = "", properties = {}) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(text);
  return made;
}

const percent = (part) => `${(100 * part).toFixed(1)}\u00a0%`;
const address = (row, side) => `images/${desk.version}/${row}?side=${side}`;

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "content-type": "application/json", "x-page-token": desk.token },
    body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(typeof answer.detail === "string" ? answer.detail : `The server said ${response.status}.`);
  return answer;
}

// One request at a time: a key that is held down decides about nothing that has not been seen.
async function go(path, body, spoken = "") {
  if (busy) return;
  busy = true;
  try {
    const answer = await ask(path, body);
    if ("item" in answer) show(answer.item);
    counted(answer);
    say([answer.said, spoken, "item" in answer ? heading(answer.item) : ""].filter(Boolean).join(" "));
  } catch (error) {
    say(error.message, true);
  } finally {
    busy = false;
  }
}

function heading(shown) {
  if (!shown) return "Nothing is left to decide in this queue.";
  if (shown.row === null) return `File ${shown.place + 1} of ${shown.total}.`;
  const where = shown.place === null ? "Image beside the queue" : `Image ${shown.place + 1} of ${shown.total}`;
  return `${where}${shown.label ? `, labeled ${shown.label}` : ""}.`;
}

function counted({ counts, lost }) {
  for (const { name, title } of desk.queues) {
    const button = find(`queue-${name}`);
    button.textContent = `${title} (${counts[name].toLocaleString("en")})`;
    if (name === queue) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  find("lost").hidden = !lost;
  find("lost").firstElementChild.textContent =
    `${lost} decision${lost === 1 ? "" : "s"} of this session are no longer in the table: an editor has written over them.`;
}

function show(shown) {
  item = shown;
  find("main").hidden = false;
  for (const id of ["seen", "why"]) find(id).hidden = !item;
  if (!item) {
    for (const id of ["near", "decision", "actions", "opinion"]) find(id).hidden = true; // undo stays
    return;
  }
  if (item.place !== null) place = item.place;
  const file = item.row === null;
  find("name").textContent = item.id;
  find("why").textContent = file ? `Refused: ${item.why}.` : item.why ? `${item.why[0].toUpperCase()}${item.why.slice(1)}.` : "";
  for (const id of ["frame", "actions", "facts"]) find(id).hidden = file;
  find("opinion").hidden = file || !item.guesses.length;
  find("near").hidden = file || !(item.neighbors.length || item.partner);
  find("decision").hidden = file || !item.decision;
  if (file) return;
  find("facts").textContent = `${item.split}${item.label ? `, labeled ${item.label}` : ", no label"}, ${item.width} × ${item.height} pixels`;
  const image = find("image");
  image.classList.add("waiting"); // or the one before would be seen until this one is there
  image.src = address(item.row, 1024);
  image.alt = item.label ? `Image labeled ${item.label}` : "Image without a label";
  if (item.decision) {
    const { action, label, date, reason } = item.decision;
    find("decision").textContent = `Decided on ${date}: ${action}${label ? ` ${label}` : ""} (${reason}).`;
  }
  find("who").textContent = `${item.who ? `${item.who[0].toUpperCase()}${item.who.slice(1)}` : ""} says`;
  find("guesses").replaceChildren(...item.guesses.map(guess));
  find("neighbors").replaceChildren(...(item.partner ? [beside(item.partner, true)] : []), ...item.neighbors.map((one) => beside(one, false)));
  find("keep").disabled = !item.label;
  offer();
}

function guess({ class: name, probability }) {
  const bar = make("i");
  bar.style.width = `${100 * probability}%`;
  const line = make("li", bar);
  line.append(make("span", name), make("span", percent(probability)));
  return line;
}

function beside({ row, label, split, distance }, pair) {
  const image = make("img", "", { src: address(row, 192), alt: "", loading: "lazy" });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 96));
  const differs = label && item.label && label !== item.label;
  const words = make("span", label || "no label", { className: differs ? "other" : "" });
  const button = make("button", image, { type: "button", className: pair ? "pair" : "" });
  const what = pair ? `The other of the pair, in ${split}` : `Neighbor at distance ${distance.toFixed(2)}`;
  button.setAttribute("aria-label", `${what}: ${label || "no label"}. Look at it.`);
  button.append(words, make("br"), pair ? split : distance.toFixed(2));
  button.addEventListener("click", () => go(`rows/${row}`));
  return make("li", button);
}

// The buttons of few classes stay, so that the focus does; of many, the likeliest are offered.
function offer() {
  const few = desk.keys.length > 0;
  const names = few ? desk.classes : [...new Set([item.label, item.suggested, ...item.guesses.map((one) => one.class)])].filter(Boolean);
  const group = find("classes");
  if (!few || !group.children.length) {
    group.replaceChildren(...names.map((name, number) => {
      const key = few ? desk.keys[number] : String(number + 1);
      const button = make("button", name, { type: "button" });
      button.append(make("kbd", key));
      button.dataset.name = name;
      button.dataset.key = key;
      button.setAttribute("aria-keyshortcuts", key);
      button.addEventListener("click", () => decide("class", name));
      return button;
    }));
  }
  const now = item.decision?.label || item.label;
  for (const button of group.children) {
    const name = button.dataset.name;
    button.setAttribute("aria-pressed", String(name === now));
    button.classList.toggle("suggested", name === item.suggested);
  }
}

function decide(action, label = null) {
  if (!item || item.row === null) return;
  // After an image that was met beside the queue, the queue goes on where it was.
  const after = item.place === null ? place - 1 : place;
  go("decisions", { row: item.row, action, label, queue, after });
}

function open(name) {
  queue = name;
  place = -1;
  find("about").textContent = desk.queues.find((one) => one.name === name).about;
  go(`queues/${name}/next`).then(() => find("name").focus());
}

const actions = {
  k: () => !find("keep").disabled && decide("keep"),
  x: () => decide("exclude"),
  u: () => go("undo", { queue, place }),
  n: () => go(`queues/${queue}/next?after=${place}`),
  p: () => (item && item.place === null ? go(`queues/${queue}/${place}`) : place > 0 && go(`queues/${queue}/${place - 1}`)),
};

function setUp() {
  for (const { name, title } of desk.queues) {
    const button = make("button", title, { type: "button", id: `queue-${name}` });
    button.addEventListener("click", () => open(name));
    find("queues").append(make("li", button));
  }
  for (const [key, id] of Object.entries({ k: "keep", x: "exclude", u: "undo", n: "next", p: "previous" })) {
    find(id).addEventListener("click", actions[key]);
  }
  find("restore").addEventListener("click", () => go("restore", {}));
  find("other").hidden = desk.keys.length > 0;
  find("names").append(...desk.classes.map((name) => make("option", "", { value: name })));
  find("other").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = find("search").value.trim();
    if (!desk.classes.includes(name)) return say(`${name || "Nothing"} is not a class.`, true);
    find("search").value = "";
    decide("class", name);
  });
  const image = find("image");
  image.addEventListener("load", () => {
    image.classList.toggle("tiny", image.naturalWidth <= 96);
    image.classList.remove("waiting");
    if (item?.ahead != null) new Image().src = address(item.ahead, 1024);
  });
  image.addEventListener("error", () => say("The image cannot be read.", true));
  addEventListener("keydown", (event) => {
    if (!find("shortcuts").checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.matches("input:not([type=checkbox])")) return;
    const key = event.key.toLowerCase();
    const button = [...find("classes").children].find((one) => one.dataset.key === key);
    if (button && !find("actions").hidden) decide("class", button.dataset.name);
    else if (actions[key]) actions[key]();
    else return;
    event.preventDefault();
  });
}

async function start() {
  try {
    desk = await ask("desk");
  } catch (error) {
    return say(error.message, true);
  }
  setUp();
  counted(desk);
  const first = desk.queues.find(({ name }) => desk.counts[name]) ?? desk.queues[0];
  open(first.name);
}

start();
