// Logging in and out, and which forms are there for whom.

import { Away, logIn, read } from "./api.js";
import { byId, setText, show } from "./dom.js";
import { begin, current, end, meets, onChange } from "./session.js";

/** What each form of the page needs, by its id; the service says so. */
const needs = new Map();

export function startLogin() {
  const form = byId("login");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [name, password] = [byId("login-name"), byId("login-password")];
    const button = form.querySelector("button");
    button.setAttribute("aria-busy", "true");
    tell("");
    try {
      const answer = await logIn(name.value, password.value);
      if (answer.isOk) {
        password.value = "";
        begin(answer.body.access_token);
        byId("logout").focus();
      } else {
        tell(answer.body?.detail ?? "This is not taken.");
        password.select();
      }
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      tell(`No answer: ${error.message}.`);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  byId("logout").addEventListener("click", () => {
    end();
    byId("login-name").focus();
  });
  onChange((session, why) => {
    showSession();
    tell(why ?? "");
  });
  showSession();
  findNeeds();
}

const tell = (text) => setText(byId("login-message"), text);

function showSession() {
  const session = current();
  show(byId("login"), !session);
  show(byId("who"), Boolean(session));
  setText(byId("who-name"), session?.name ?? "");
  setText(byId("who-role"), session?.isAdmin ? "admin" : "user");
  showForms();
}

function showForms() {
  for (const [id, needed] of needs) {
    const isOpen = meets(needed);
    show(byId(id), isOpen);
    const line = byId(`${id}-locked`);
    setText(line, isOpen ? "" : lockedLine(needed));
    show(line, !isOpen);
  }
}

/** What to say where something is not for everybody. */
export const lockedLine = (needed) =>
  needed === "admin" ? "This is for admins only: log in as one." : "This is for users only: log in above.";

/** Asks the document which forms send what not everybody may send. */
async function findNeeds() {
  try {
    const { isOk, body } = await read("/openapi.json");
    if (!isOk) return;
    for (const form of document.querySelectorAll("form[data-path]")) {
      const operation = body.paths[form.dataset.path]?.post;
      const isOpen = !operation?.security || operation.security.some((way) => Object.keys(way).length === 0);
      // That an admin is needed shows in what else is answered.
      needs.set(form.id, isOpen ? "open" : operation.responses["403"] ? "admin" : "user");
    }
    showForms();
  } catch (error) {
    // Then the answers say it.
    if (!(error instanceof Away)) throw error;
  }
}
