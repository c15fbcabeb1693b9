// A view's cells as a table that is updated in place: numbers with bars, rows and latest as the events they hold.

import { el, flash, list, setText, time, value } from "./dom.js";

/** What the cells of a kind of view tell in numbers; those of other kinds are events. */
export const MEASURES = {
  counts: ["count"],
  series: ["value"],
  stats: ["count", "average", "sum", "min", "max", "stddev", "p50", "p90", "p99"],
};

/** Numbers by the view's fields; where there is one a row, with a bar as long as its share of the highest. */
export function showNumbers(table, cells, isFirst, measures) {
  const fields = Object.keys(cells[0] ?? {}).filter((name) => !measures.includes(name));
  const [first] = measures;
  const hasBars = measures.length === 1;
  const highest = Math.max(1, ...cells.map((cell) => Number(cell[first])));
  const columns = [
    ...fields.map((name) => ({ name, label: name, show: (cell) => field(name, cell[name]), of: (cell) => cell[name] })),
    ...(hasBars ? [{ name: "bar", label: "", className: "bar", show: () => el("div"), of: () => null }] : []),
    ...measures.map((name) => ({ name, label: name, className: "number", show: (cell) => value(cell[name]), of: (cell) => cell[name] })),
  ];
  // Many numbers a row are read like the fields of an event.
  table.className = !hasBars ? "events" : fields.length > 1 ? "counts many" : "counts";
  show(table, columns, cells, (cell) => JSON.stringify(fields.map((name) => cell[name])), (row, cell, isNew) => {
    if (hasBars) row.querySelector(".bar > div").style.width = `${(100 * Number(cell[first])) / highest}%`;
    if (!isFirst && (isNew || row.told !== cell[first])) flash(row);
    row.told = cell[first];
  });
}

/** Counts as they are ordered here: by how many, then by name. */
export function byCount(a, b) {
  return b.count - a.count || JSON.stringify(a).localeCompare(JSON.stringify(b));
}

/** Steps of a series as they are ordered here: the newest first, then the highest. */
export function byStep(a, b) {
  return Date.parse(b.from) - Date.parse(a.from) || Number(b.value) - Number(a.value);
}

/** A step of a series begins in UTC, whatever the reader's own zone is. */
function field(name, any) {
  if (name !== "from") return value(any);
  const [day, clock] = any.split("T");
  return el("time", { datetime: any, title: any }, clock === "00:00:00Z" ? day : `${day} ${clock.slice(0, 5)} UTC`);
}

/** Events: when they were recorded and what they say. `actions` makes buttons for one, `isMine` knows those written here. */
export function showEvents(table, events, isFirst, { actions, isMine }) {
  const fields = [...new Set(events.flatMap((event) => Object.keys(event.data ?? {})))];
  const types = new Set(events.map((event) => event.type));
  const columns = [
    { name: "time", label: "recorded", className: "when", show: (event) => when(event, types.size > 1), of: (event) => [event.time, types.size > 1] },
    ...fields.map((name) => ({
      name: `data.${name}`,
      label: name,
      show: (event) => value(event.data?.[name]),
      of: (event) => event.data?.[name],
    })),
    ...(actions ? [{ name: "actions", label: "change", className: "actions", show: actions, of: (event) => event.id }] : []),
  ];
  table.className = "events";
  show(table, columns, events, (event) => event.id, (row, event, isNew) => {
    if (!isFirst && isNew) flash(row);
    row.classList.toggle("mine", isMine(event));
  });
}

function when(event, isTypeShown) {
  const type = isTypeShown ? [el("br"), el("small", {}, event.type)] : [];
  return el("span", {}, time(event.time), ...type);
}

function show(table, columns, items, key, update) {
  table.parentElement.hidden = items.length === 0;
  const [head, body] = [table.tHead, table.tBodies[0]];
  if (!head.rows.length) head.append(el("tr", { role: "row" }));
  const heading = (column) => el("th", { scope: "col", role: "columnheader", class: column.className });
  list(head.rows[0], columns, (column) => column.name, heading, (cell, column) => {
    if (column.label) setText(cell, column.label);
    else cell.setAttribute("aria-hidden", "true");
  });
  list(body, items, key, () => el("tr", { role: "row" }), (row, item, isNew) => {
    list(row, columns, (column) => column.name, cellOf, (cell, column) => fill(cell, column, item));
    update(row, item, isNew);
  });
  reachable(table.parentElement);
}

/** What is wider than its place is scrolled, also with the keyboard. */
function reachable(place) {
  if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
  else place.removeAttribute("tabindex");
}

function cellOf(column) {
  const cell = el("td", { role: "cell", class: column.className, "data-label": column.label });
  if (!column.label) cell.setAttribute("aria-hidden", "true");
  return cell;
}

function fill(cell, column, item) {
  const known = JSON.stringify(column.of(item)) ?? "";
  if (cell.known === known) return;
  cell.known = known;
  cell.classList.toggle("none", column.of(item) === undefined && column.name !== "bar");
  cell.replaceChildren(column.show(item));
}
