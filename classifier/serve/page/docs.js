// The server's interface, as openapi.json describes it: each path, what it answers, and how it refuses.
const find = (id) => document.getElementById(id);

function kind(schema, schemas) {
  if (schema.$ref) return kind(schemas[schema.$ref.split("/").pop()], schemas);
  if (schema.anyOf) return schema.anyOf.map((one) => kind(one, schemas)).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items, schemas)}`;
  return schema.properties ? `{${Object.keys(schema.properties).join(", ")}}` : schema.type ?? "anything";
}

// The fields of an object, and those of the objects in it: [name, type, meaning].
function* fields(schema, schemas, before = "") {
  if (schema?.$ref) schema = schemas[schema.$ref.split("/").pop()];
  if (schema?.type === "array") return yield* fields(schema.items, schemas, `${before}[].`);
  for (const [name, one] of Object.entries(schema?.properties ?? {})) {
    yield [before + name, kind(one, schemas), one.description ?? ""];
    if (one.items?.$ref) yield* fields(one.items, schemas, `${before}${name}[].`);
  }
}

function section(path, method, told, schemas) {
  const part = find("path").content.firstElementChild.cloneNode(true);
  const asked = (told.parameters ?? []).filter((one) => one.in === "query").map((one) => `${one.name}=…`);
  const query = asked.length ? `?${asked.join("&")}` : "";
  part.querySelector("code").textContent = `${method.toUpperCase()} ${path}${query}`;
  part.querySelector(".about").textContent = told.description ?? told.summary;
  const table = part.querySelector("table");
  for (const cells of fields(told.responses["200"].content?.["application/json"]?.schema, schemas)) {
    const row = table.querySelector("tbody").insertRow();
    for (const text of cells) row.insertCell().textContent = text;
    table.hidden = false;
  }
  table.caption.textContent = "It answers with JSON:";
  for (const [status, { description }] of Object.entries(told.responses)) {
    if (status === "200") continue;
    const item = document.createElement("li");
    item.textContent = `${status}: ${description}`;
    part.querySelector(".statuses").append(item);
  }
  return part;
}

async function start() {
  const predict = new URL("predict", location.href);
  find("curl").textContent = `curl -F pictures=@photo.jpg ${predict}`;
  try {
    const { paths, components } = await (await fetch("openapi.json")).json();
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, told] of Object.entries(methods)) {
        document.querySelector("main").append(section(path, method, told, components.schemas));
      }
    }
    find("status").remove();
  } catch {
    find("status").textContent = "The server does not answer. Is it still running?";
  }
}

start();
