// A sketch as a picture: strokes as wide as a pen's would be at the model's own size.
const PAUSE = 350; // milliseconds after the last stroke before the model is asked

export function setUpDrawing(canvas, clear, model, send) {
  const context = canvas.getContext("2d");
  const [paper, ink] = model.light_ink ? ["#000", "#fff"] : ["#fff", "#000"];
  let last = null;
  let timer = 0;
  let asked = 0;

  function wipe() {
    clearTimeout(timer);
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  function stroke(event) {
    const next = point(event);
    context.strokeStyle = ink;
    context.lineWidth = Math.max(22, 0.9 * canvas.width / model.image_size);
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...(last || next));
    context.lineTo(...next);
    context.stroke();
    last = next;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(timer);
    last = null;
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last && event.buttons) for (const part of event.getCoalescedEvents?.() || [event]) stroke(part);
  });
  canvas.addEventListener("pointerup", () => {
    last = null;
    const turn = ++asked;
    timer = setTimeout(() => canvas.toBlob((blob) => {
      if (turn === asked) send(new File([blob], "sketch.png", { type: "image/png" }));
    }, "image/png"), PAUSE);
  });
  clear.addEventListener("click", () => {
    asked++;
    wipe();
  });
  wipe();
}
