// Who is logged in: the token, kept while the tab is open, and what it says of its user. It is never put into the page.

const PLACE = "refold.token";

const listeners = new Set();
let session = restored();
let timer = null;
watch();

/** `{token, name, isAdmin}`, or null. */
export const current = () => session;

/** Calls `listener(session, why)` whenever somebody has logged in or out; `why` says what ended it, if it was not they. */
export const onChange = (listener) => listeners.add(listener);

/** Whether whoever is logged in has what is needed: open, user or admin. */
export const meets = (needs) => needs === "open" || Boolean(session && (needs === "user" || session.isAdmin));

export function begin(token) {
  change(read(token));
}

export function end(why) {
  change(null, why);
}

function change(next, why) {
  session = next;
  if (session) sessionStorage.setItem(PLACE, session.token);
  else sessionStorage.removeItem(PLACE);
  watch();
  for (const listener of listeners) listener(session, why);
}

/** Ends the session with its token. */
function watch() {
  clearTimeout(timer);
  if (session) timer = setTimeout(() => end("Your login has expired."), Math.max(0, session.ends - Date.now()));
}

function restored() {
  const token = sessionStorage.getItem(PLACE);
  const found = token && read(token);
  return found && found.ends > Date.now() ? found : null;
}

/** What a token says. Only the service can tell whether it is sound, and does with every answer. */
function read(token) {
  const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
  const { username, role, exp } = JSON.parse(new TextDecoder().decode(bytes));
  return { token, name: username, isAdmin: role === "admin", ends: exp * 1000 };
}
