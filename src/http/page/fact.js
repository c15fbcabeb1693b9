// The forms of plain facts: each input is a field of what is sent, and there is nothing else to it.

import { byId } from "./dom.js";
import { sendWith, whole } from "./form.js";

export function startFacts() {
  start("food", "/foods", "food_counts");
  start("detection", "/detections", "detections");
  start("picture", "/pictures", "picture_weights");
}

function start(id, path, view) {
  const form = byId(id);
  const inputs = [...form.querySelectorAll("[data-field]")];
  sendWith(form, () => ({
    method: "POST",
    path,
    body: Object.fromEntries(inputs.map((input) => [input.dataset.field, valueOf(input)])),
    view,
    done: () => inputs[0].select(),
  }));
}

const valueOf = (input) => (input.type === "number" ? whole(input.value) : input.value);
