// The document: elements, lists updated in place, and how values look as text. Nothing here parses HTML.

export const byId = (id) => document.getElementById(id);

/** Makes an element: attributes by name (`on…` are listeners, `true` is an empty one), then children. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A copy of what is in a `<template>`. */
export const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Sets a text only where it differs, so that selections and screen readers are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/**
 * Makes the children of `parent` those of `items`: what has the same key stays the same element. `update` gets each
 * element with its item and whether it is new.
 */
export function list(parent, items, key, create, update) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = old.get(name);
    const isNew = !child;
    if (isNew) {
      child = create(item);
      child.dataset.key = name;
    }
    old.delete(name);
    update(child, item, isNew);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of old.values()) gone.remove();
  // An element that is moved loses the focus.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

/** Shows for a moment that something is new. */
export function flash(element) {
  element.classList.remove("new");
  void element.offsetWidth; // otherwise the animation would not start again
  element.classList.add("new");
}

const NUMBER = new Intl.NumberFormat("en");
export const number = (value) => NUMBER.format(value);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

// Swedish writes times as most programmers do: 2021-12-28 12:00:00.
const TIME = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("sv", { timeStyle: "medium" });
export const clock = (date) => CLOCK.format(date);

/** A time in the reader's own zone, with the original beside it. */
export function time(text) {
  const date = new Date(text);
  const shown = Number.isNaN(date.getTime()) ? text : TIME.format(date);
  return el("time", { datetime: text, title: text }, shown);
}

const IS_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const IS_ID = /^(\d+\.)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(\.\d+)*$/;

/** Any value of an event, as nodes. Texts come from strangers and stay texts; a number may be a year and stays as it is. */
export function value(any) {
  if (any === null || any === undefined) return el("span", { class: "quiet" }, "–");
  if (typeof any === "string") return text(any);
  if (Array.isArray(any)) return el("div", { class: "items" }, ...any.map((item) => el("div", {}, value(item))));
  if (typeof any === "object") return el("span", { class: "pairs" }, ...pairs(any));
  return el("span", {}, String(any));
}

function text(any) {
  if (IS_TIME.test(any)) return time(any);
  if (IS_ID.test(any)) return el("code", { class: "id", title: any }, any);
  return el("span", { class: "text" }, any);
}

function pairs(object) {
  return Object.entries(object).map(([name, any]) => el("span", { class: "pair" }, el("small", {}, `${name} `), value(any)));
}
