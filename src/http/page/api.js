// Talking to the service: every answer is a value; that there is none is an error of its own.

import { current, end } from "./session.js";

const READ_WAIT_MS = 10_000;
// Longer than the service itself waits before it says that it does not know.
const COMMAND_WAIT_MS = 45_000;
/** How long a query may wait for what was just written. */
const RECEIPT_WAIT_SECONDS = 10;

/** The service did not answer, or not as Refold would. */
export class Away extends Error {}

/** Reads something; `receipt` makes the service wait until that command can be seen. */
export async function read(path, receipt) {
  const headers = receipt ? { "Refold-Receipt": receipt, Prefer: `wait=${RECEIPT_WAIT_SECONDS}` } : {};
  const wait = READ_WAIT_MS + (receipt ? RECEIPT_WAIT_SECONDS * 1000 : 0);
  return ask(path, { headers, cache: "no-store" }, wait);
}

/** Sends a command `{method, path, body, ifMatch}` under an Idempotency-Key. */
export async function send(command, key) {
  const headers = { "Idempotency-Key": key };
  if (command.body !== undefined) headers["Content-Type"] = "application/json";
  if (command.ifMatch) headers["If-Match"] = command.ifMatch;
  const body = command.body === undefined ? undefined : JSON.stringify(command.body);
  return ask(command.path, { method: command.method, headers, body }, COMMAND_WAIT_MS);
}

/** Asks for a token, as OAuth 2 has it for passwords. */
export async function logIn(username, password) {
  const body = new URLSearchParams({ grant_type: "password", username, password });
  return ask("/login", { method: "POST", body }, COMMAND_WAIT_MS);
}

/** Follows a stream: `hear(body)` for each message, `lost()` once the stream is no more. Browsers' EventSource cannot send a token. */
export function follow(path, hear, lost) {
  const closing = new AbortController();
  const isLost = (error) => {
    // That the connection broke is no defect; that what came over it makes no sense is one.
    if (error instanceof SyntaxError) throw error;
  };
  const isOver = () => {
    // The page knows best when to try again.
    if (!closing.signal.aborted) lost();
  };
  listen(path, hear, closing.signal).catch(isLost).finally(isOver);
  return { close: () => closing.abort() };
}

async function listen(path, hear, signal) {
  const response = await fetch(path, { headers: { Accept: "text/event-stream", ...authorization(current()) }, cache: "no-store", signal });
  if (!response.ok) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (text + value).split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const data = /^data: (.*)$/m.exec(message);
      // What has a name of its own is the service's last word before it ends the stream.
      if (data && !/^event:/m.test(message)) hear(JSON.parse(data[1]));
    }
  }
}

function authorization(session) {
  return session ? { Authorization: `Bearer ${session.token}` } : {};
}

async function ask(path, options, wait) {
  const session = path === "/login" ? null : current();
  const headers = { ...options.headers, ...authorization(session) };
  try {
    const response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(wait) });
    const body = await response.text();
    // What came meanwhile is another session's.
    if (response.status === 401 && session && session === current()) end("You are no longer logged in: the service does not take your token.");
    return {
      status: response.status,
      isOk: response.ok,
      receipt: response.headers.get("Refold-Receipt"),
      body: body ? JSON.parse(body) : null,
    };
  } catch (error) {
    throw new Away(error.name === "TimeoutError" ? "it did not answer in time" : "it cannot be reached");
  }
}

/** Whether a repeat of the same command could still be needed: nobody knows what became of the first. */
export const isUnsure = (status) => status >= 500 || status === 408 || status === 429;

/** A random UUID, also where the page is not served over TLS. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
