// The form of an introduction: makes one, or revises or withdraws one that is listed, if it still stands as it is shown.

import { byId, el, setText, show } from "./dom.js";
import { sendWith } from "./form.js";
import { addActions } from "./views.js";

const VIEW = "introductions";
const FIELDS = ["name", "message", "email", "links"];
const input = (name) => byId(`introduction-${name}`);

/** What the form is for: nothing chosen means somebody new. */
let chosen = null;
let form;

/** `open` brings the form to the front. */
export function startIntroductions(open) {
  form = sendWith(byId("introduction"), command);
  input("cancel").addEventListener("click", () => (choose(null), form.clear()));
  addActions(VIEW, (event) =>
    el("div", { class: "buttons" }, button("Revise", event, open), button("Withdraw", event, open)),
  );
  choose(null);
}

function button(what, event, open) {
  const label = `${what} the introduction of ${event.data.name}`;
  const start = () => {
    choose({ what, ...event.data });
    form.clear();
    open();
    input(what === "Revise" ? "name" : "send").focus();
  };
  return el("button", { type: "button", class: "small", "aria-label": label, onclick: start }, what);
}

function choose(one) {
  chosen = one;
  const isWithdrawal = one?.what === "Withdraw";
  setText(input("about"), about(one));
  setText(input("send"), one?.what ?? "Introduce");
  input("send").classList.toggle("danger", isWithdrawal);
  show(input("cancel"), Boolean(one));
  show(input("fields"), !isWithdrawal);
  for (const name of FIELDS) input(name).value = [one?.[name] ?? []].flat().join("\n");
}

function about(one) {
  if (!one) return "Somebody introduces themselves. Below, in the view, it can be revised and withdrawn.";
  const version = `version ${one.version} of the introduction of ${one.name}`;
  return one.what === "Revise"
    ? `Revises ${version}. If somebody was faster, it is refused (If-Match).`
    : `Withdraws ${version}. Its history stays. If somebody was faster, it is refused (If-Match).`;
}

function command() {
  const done = () => choose(null);
  if (!chosen) return { method: "POST", path: "/introductions", body: introduction(), view: VIEW, done };
  const [path, ifMatch] = [`/introductions/${encodeURIComponent(chosen.id)}`, `"${chosen.version}"`];
  if (chosen.what === "Withdraw") return { method: "DELETE", path, ifMatch, view: "introduction_history", done };
  return { method: "PUT", path, ifMatch, body: introduction(), view: VIEW, done };
}

function introduction() {
  const links = input("links").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const email = input("email").value.trim();
  return {
    name: input("name").value,
    message: input("message").value,
    ...(email ? { email } : {}),
    ...(links.length ? { links } : {}),
  };
}
