// The form of a purchase: its own id, a shop that may be known, and a line for each flavour.

import { uuid } from "./api.js";
import { byId, clone, el, list } from "./dom.js";
import { addPlacesForErrors, sendWith, whole } from "./form.js";
import { eventsOf } from "./views.js";

const VIEW = "purchases_by_day";
const SHOPS_MAX = 20;

export function startPurchases() {
  byId("purchase-shop").value = uuid();
  byId("add-scoop").addEventListener("click", () => addScoop().querySelector("select").focus());
  byId("purchase-shop").addEventListener("focus", suggestShops);
  addScoop();
  startAnother();
  sendWith(byId("purchase"), () => ({
    method: "POST",
    path: "/purchases",
    body: purchase(),
    view: VIEW,
    done: startAnother,
  }));
}

function purchase() {
  return {
    shop_id: byId("purchase-shop").value.trim(),
    purchase_id: byId("purchase-id").value.trim(),
    timestamp: instant(byId("purchase-time").value),
    scoops: [...byId("scoops").children].map(scoop),
  };
}

function scoop(line) {
  const part = (name) => line.querySelector(`[data-part=${name}]`).value;
  return { type: part("type"), quantity: whole(part("quantity")), price: whole(part("price")) };
}

/** What the input holds is the reader's own time; what is sent is UTC. */
function instant(local) {
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? local : date.toISOString();
}

/** Another purchase has another id, and is made now. */
function startAnother() {
  byId("purchase-id").value = uuid();
  const now = new Date();
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
  byId("purchase-time").value = local.toISOString().slice(0, 19);
}

function addScoop() {
  const line = clone("scoop");
  line.querySelector(".remove").addEventListener("click", () => {
    line.remove();
    numberScoops();
    byId("add-scoop").focus();
  });
  byId("scoops").append(line);
  numberScoops();
  addPlacesForErrors(line);
  return line;
}

/** Names the inputs as the service names their fields. */
function numberScoops() {
  [...byId("scoops").children].forEach((line, index) => {
    for (const input of line.querySelectorAll("[data-part]")) input.dataset.field = `scoops[${index}].${input.dataset.part}`;
  });
}

/** The shops that were seen last. */
function suggestShops() {
  const shops = [...new Set(eventsOf(VIEW).map((event) => event.data.shop_id))].slice(0, SHOPS_MAX);
  list(byId("shops"), shops, (shop) => shop, (shop) => el("option", { value: shop }), () => {});
}
