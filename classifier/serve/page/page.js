import { setUpCamera } from "./camera.js";
import { setUpDrawing } from "./draw.js";

const find = (id) => document.getElementById(id);
const status = find("status");
const SHOWN = 64; // answers that stay on the page: as many as may come at a time
const BARS = 10; // classes that an answer shows at most
let model = null;

function say(text, problem = false) {
  status.textContent = text;
  status.classList.toggle("problem", problem);
}

function percent(share) {
  const text = (100 * share).toFixed(1);
  return `${text === "100.0" && share < 1 ? ">99.9" : text}\u00a0%`;
}

async function ask(path, files) {
  const form = new FormData();
  for (const file of files) form.append("pictures", file, file.name || "picture");
  let response;
  try {
    response = await fetch(path, { method: "POST", body: form });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(typeof answer.detail === "string" ? answer.detail : `The server said ${response.status}.`);
  }
  return answer;
}

export async function classify(files, keep = true) {
  files = [...files];
  if (!files.length) return;
  const most = model ? model.limits : { files: 64, body_bytes: 32 * 2 ** 20 };
  if (files.length > most.files) return say(`At most ${most.files} pictures at a time, please.`, true);
  const size = files.reduce((sum, file) => sum + file.size, 0);
  if (size > most.body_bytes) {
    return say(`At most ${Math.floor(most.body_bytes / 2 ** 20)} MiB at a time, please.`, true);
  }
  say(files.length > 1 ? `Looking at ${files.length} pictures…` : "Looking…");
  try {
    const started = performance.now();
    const { predictions } = await ask(`predict?top=${BARS}`, files);
    const took = Math.round(performance.now() - started);
    if (!keep) find("results").querySelector("li.sketch")?.remove();
    const cards = predictions.map((prediction, place) => made(prediction, files[place], !keep));
    find("results").prepend(...cards);
    while (find("results").children.length > SHOWN) find("results").lastElementChild.remove();
    const skipped = predictions.filter((prediction) => prediction.error).length;
    if (skipped) say(`${skipped} of ${files.length} pictures could not be read.`, true);
    else if (files.length > 1) say(`${files.length} pictures, ${took} ms.`);
    else {
      const text = answered(predictions[0]);
      say(`${text}, ${took} ms.`);
      if (!keep) find("sketch").textContent = text;
    }
    // On a phone the answers lie below what can be seen; a sketch has its answer beside it.
    if (keep) find("answers").scrollIntoView({ block: matchMedia("(min-width: 52rem)").matches ? "nearest" : "start" });
  } catch (error) {
    say(files.length === 1 && files[0].name ? `${files[0].name}: ${error.message}` : error.message, true);
  }
}

// An answer that is no class.
const unsure = ({ known }) => (known === false ? "None of these" : "Not sure");

// What is said in one line: "cat, 97.1 % sure", or "Not sure; first guess cat, 51.0 %".
function answered(prediction) {
  const { answer, classes } = prediction;
  const [first] = classes;
  if (answer === null) return `${unsure(prediction)}; first guess ${first.class}, ${percent(first.probability)}`;
  const own = classes.find((one) => one.class === answer);
  return own ? `${answer}, ${percent(own.probability)} sure` : answer;
}

// Classes until 99 % is reached, and until the answer is among them; then what is left for all others.
function* bars({ answer, classes }) {
  let left = 1;
  let told = answer === null;
  let number = 0;
  for (const { class: name, probability } of classes) {
    yield [name, probability];
    left -= probability;
    told ||= name === answer;
    number += 1;
    if (left <= 0.01 && told) return;
  }
  const others = model ? model.classes.length - number : 0;
  if (others > 0) yield [others === 1 ? "one other class" : `${others} other classes`, Math.max(0, left)];
}

function made(prediction, file, sketch) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  const picture = card.querySelector("img");
  const address = URL.createObjectURL(file);
  card.classList.toggle("sketch", sketch);
  picture.src = address;
  picture.alt = prediction.name || "the picture";
  picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth < 96));
  card.querySelector(".name").textContent = sketch ? "" : prediction.name || "";
  const top = card.querySelector(".top");
  const explain = card.querySelector(".explain");
  const compare = card.querySelector(".compare");
  if (prediction.error) {
    top.textContent = prediction.error;
    top.classList.add("problem");
    card.classList.add("broken");
    picture.parentElement.remove();
    explain.parentElement.remove();
  } else {
    top.textContent = prediction.answer ?? unsure(prediction);
    top.classList.toggle("unsure", prediction.answer === null);
    for (const [name, probability] of bars(prediction)) {
      const bar = document.createElement("li");
      const fill = document.createElement("i");
      fill.style.width = `${100 * probability}%`;
      const label = document.createElement("span");
      label.textContent = name;
      const share = document.createElement("span");
      share.textContent = percent(probability);
      bar.append(fill, label, share);
      card.querySelector(".bars").append(bar);
    }
    if (model?.explains) explain.addEventListener("click", () => toggle(explain, picture, address, file));
    else explain.remove();
    if (model?.shows_neighbors) compare.addEventListener("click", () => showNeighbors(compare, card, file));
    else compare.remove();
  }
  return card;
}

async function showNeighbors(button, card, file) {
  button.disabled = true;
  try {
    const { neighbors } = await ask("neighbors", [file]);
    const list = card.querySelector(".near");
    for (const { class: name, picture } of neighbors) {
      const item = document.createElement("li");
      const image = document.createElement("img");
      image.src = picture;
      image.alt = "";
      image.className = model.image_size < 96 ? "tiny" : "";
      item.append(image, name);
      list.append(item);
    }
    list.hidden = false;
    button.remove();
    say(`The most similar training pictures: ${neighbors.map((one) => one.class).join(", ")}.`);
  } catch (error) {
    button.disabled = false;
    say(error.message, true);
  }
}

async function toggle(button, picture, address, file) {
  const on = button.getAttribute("aria-pressed") === "true";
  if (!on && !button.overlay) {
    button.disabled = true;
    try {
      const found = await ask("explain", [file]);
      button.overlay = found.overlay;
      if (found.empty) say("The heat map is empty: no place of this picture speaks for the class by itself.");
    } catch (error) {
      return say(error.message, true);
    } finally {
      button.disabled = false;
    }
  }
  picture.src = on ? address : button.overlay;
  button.setAttribute("aria-pressed", String(!on));
  button.textContent = on ? "Show what it looked at" : "Show the picture";
}

function setUpInputs() {
  const drop = find("drop");
  const shot = find("shot");
  find("choose").addEventListener("click", () => find("file").click());
  for (const input of [find("file"), shot]) {
    input.addEventListener("change", () => {
      classify(input.files);
      input.value = "";
    });
  }
  let depth = 0; // dragenter and dragleave come for every element on the way
  addEventListener("dragenter", () => drop.classList.toggle("over", ++depth > 0));
  addEventListener("dragleave", () => drop.classList.toggle("over", --depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) classify(event.dataTransfer.files);
    else say("Drop picture files, please; addresses are not fetched.", true);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) classify(event.clipboardData.files);
    else say("There is no picture in the clipboard.", true);
  });
  setUpCamera(find("photograph"), find("camera"), (file) => classify([file]), () => shot.click(), (text) => say(text, true));
}

async function setUpExamples() {
  const chosen = find("example-class");
  chosen.append(...model.classes.map((name) => new Option(name, name)));
  find("which").hidden = model.classes.length < 2;
  chosen.addEventListener("change", showExamples);
  find("examples").hidden = !(await showExamples());
}

// The pictures of the class that is chosen; how many there are.
async function showExamples() {
  const wanted = find("example-class").value;
  const query = wanted ? `?class=${encodeURIComponent(wanted)}` : "";
  const examples = await (await fetch(`examples${query}`)).json();
  if (find("example-class").value !== wanted) return examples.length; // another was chosen meanwhile
  const items = examples.map(({ picture, label }) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    image.src = picture;
    image.alt = "";
    image.className = model.image_size < 96 ? "tiny" : "";
    button.type = "button";
    button.append(image, label);
    button.setAttribute("aria-label", `Test picture of ${label}`);
    button.addEventListener("click", async () => {
      const blob = await (await fetch(picture)).blob();
      classify([new File([blob], `test picture of ${label}`, { type: blob.type })]);
    });
    item.append(button);
    return item;
  });
  find("example-list").replaceChildren(...items);
  return examples.length;
}

async function start() {
  setUpInputs();
  try {
    model = await (await fetch("model")).json();
  } catch {
    find("about").textContent = "The server does not answer. Is it still running?";
    return;
  }
  const accuracy = model.metrics.test_accuracy;
  const names = model.classes.length > 12 ? `${model.classes.length} classes` : model.classes.join(", ");
  find("about").textContent = `It knows ${names}.` +
    (accuracy === undefined ? "" : ` Right for ${(100 * accuracy).toFixed(1)} % of its test pictures.`);
  if (model.channels === 1 && model.image_size <= 32) {
    find("drawing").hidden = false;
    setUpDrawing(find("canvas"), find("clear"), model, (file) => classify([file], false));
  }
  await setUpExamples();
}

start();
