// Sending a command: one Idempotency-Key a submission, kept while nobody knows what became of it; then the answer.

import { Away, isUnsure, send, uuid } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { readWithReceipt } from "./views.js";

/**
 * Makes `form` send what `command()` says: `{method, path, body, ifMatch, view, done}`, where `view` is the view in
 * which to look and `done(answer)` is called once it is recorded.
 */
export function sendWith(form, command) {
  const result = el("div", { class: "result", role: "status" });
  form.append(result);
  addPlacesForErrors(form);
  let attempt = null;
  let isSending = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isSending) return;
    isSending = true;
    const wanted = command();
    attempt = keyFor(wanted, attempt);
    attempt = await submit(form, result, wanted, attempt);
    isSending = false;
  });
  form.addEventListener("input", (event) => showErrors(form, errorsBut(form, event.target)));
  return { clear: () => (showErrors(form, []), result.replaceChildren()) };
}

/** A number, or null where there is none: the service says what it wants instead. */
export const whole = (text) => (text.trim() === "" ? null : Number(text));

/** The key of the last attempt if this is its repeat, else a new one. */
function keyFor(command, attempt) {
  const { method, path, body, ifMatch } = command;
  const sent = JSON.stringify([method, path, body, ifMatch]);
  return attempt?.sent === sent ? attempt : { sent, key: uuid() };
}

/** Sends it and shows what came of it. Answers the attempt if it may have to be repeated. */
async function submit(form, result, command, attempt) {
  const button = form.querySelector("button.primary");
  button.setAttribute("aria-busy", "true");
  showErrors(form, []);
  result.replaceChildren(el("p", { class: "quiet" }, "Sending…"));
  try {
    const answer = await send(command, attempt.key);
    if (answer.isOk) await showRecorded(result, command, answer, attempt.key);
    else showRefused(form, result, answer, attempt.key);
    result.scrollIntoView({ block: "nearest" });
    form.querySelector("[aria-invalid]")?.focus();
    return isUnsure(answer.status) ? attempt : null;
  } catch (error) {
    if (!(error instanceof Away)) throw error;
    const title = `No answer: ${error.message}`;
    result.replaceChildren(problemOf(title, "Nobody knows yet whether the command counts.", true), facts({ "Idempotency-Key": attempt.key }));
    return attempt;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

async function showRecorded(result, command, answer, key) {
  const title = el("strong", {}, STATUS[answer.status] ?? "Recorded");
  const seen = el("span", {}, " Waiting until it can be read…");
  const details = answer.body && el("details", {}, el("summary", {}, "Answer"), pre(answer.body));
  result.replaceChildren(
    el("p", { class: "alert good" }, title, seen),
    facts({ Status: answer.status, Receipt: answer.receipt, "Idempotency-Key": key }),
    ...(details ? [details] : []),
  );
  command.done(answer);
  const isSeen = !answer.receipt || (await readWithReceipt(answer.receipt));
  const view = byId(`title-${command.view}`);
  if (!view) return seen.replaceChildren(" No view shows it.");
  const link = el("a", { href: `#view-${command.view}` }, view.textContent);
  if (isSeen) seen.replaceChildren(" It can be read in ", link, ".");
  else seen.replaceChildren(" Soon it can be read in ", link, ".");
}

const STATUS = { 200: "Recorded.", 201: "Recorded.", 204: "Withdrawn." };

function showRefused(form, result, answer, key) {
  const problem = answer.body ?? {};
  const errors = problem.errors ?? [];
  const left = showErrors(form, errors);
  // What stands beside its input need not be said twice.
  const detail = errors.length && !left.length ? "See what is marked above." : problem.detail;
  result.replaceChildren(
    problemOf(problem.title ?? "Refused", detail ?? "", isUnsure(answer.status)),
    facts({ Status: answer.status, Type: problem.type, "Idempotency-Key": isUnsure(answer.status) ? key : undefined }),
  );
}

function problemOf(title, detail, canRepeat) {
  const advice = canRepeat ? [el("p", {}, "Sending it again as it is is safe: it has the same Idempotency-Key, so it counts once.")] : [];
  return el("div", { class: "alert bad" }, el("strong", {}, title), el("p", {}, detail), ...advice);
}

function facts(all) {
  const known = Object.entries(all).filter(([, text]) => text !== undefined && text !== null);
  return el("dl", { class: "facts" }, ...known.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, el("code", {}, String(text)))]));
}

const pre = (body) => el("pre", { tabindex: "0", role: "region", "aria-label": "Answer" }, el("code", {}, JSON.stringify(body, null, 2)));

/** Gives each input a place beside it for what is wrong with it. */
export function addPlacesForErrors(root) {
  for (const input of root.querySelectorAll("[data-field]:not([aria-describedby])")) {
    const place = el("span", { class: "error", id: `error-${uuid()}` });
    input.setAttribute("aria-describedby", place.id);
    (input.closest("label") ?? input).after(place);
  }
}

/** Shows each error beside its input, or beside what the input is part of. Answers those without a place. */
function showErrors(form, errors) {
  form.errors = errors;
  const inputs = [...form.querySelectorAll("[data-field]")];
  const left = errors.filter((error) => !placeOf(inputs, error));
  for (const input of inputs) {
    const own = errors.filter((error) => placeOf(inputs, error) === input);
    setText(byId(input.getAttribute("aria-describedby")), own.map((error) => reason(error, input)).join("; "));
    // A fieldset has no such attribute; its message says it.
    if (own.length && input.tagName !== "FIELDSET") input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
  return left;
}

/** The errors that are left when somebody goes on typing in `input`. */
function errorsBut(form, input) {
  const inputs = [...form.querySelectorAll("[data-field]")];
  return (form.errors ?? []).filter((error) => placeOf(inputs, error) !== input);
}

function placeOf(inputs, { field }) {
  const fits = (input) => field === input.dataset.field || (!inputs.some((other) => other.dataset.field === field) && field.startsWith(`${input.dataset.field}[`));
  return inputs.find(fits);
}

const reason = ({ field, reason: text }, input) => (field === input.dataset.field ? text : `${field} ${text}`);
