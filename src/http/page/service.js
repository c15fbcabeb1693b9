// How the service is doing: one line, what is wrong, and the details for who asks.

import { byId, clock, el, list, number, plural, setText, time } from "./dom.js";

/** Shows an answer of /readyz and one of /projections. */
export function showService(readiness, projections) {
  const dependencies = readiness.dependencies.map((one) => ({ ...one, ...standing(one.name, projections) }));
  const up = dependencies.filter((one) => one.up).length;
  const position = dependencies.reduce((sum, one) => sum + (one.position ?? 0), 0);
  const lag = dependencies.reduce((sum, one) => sum + (one.lag ?? 0), 0);
  state(readiness.ready ? "good" : "bad", readiness.ready ? "Ready" : "Not ready");
  setText(
    byId("service-text"),
    `${up} of ${dependencies.length} up · ${plural(position, "record")} folded · ${lag ? `${number(lag)} to go` : "nothing left to fold"}`,
  );
  showDependencies(dependencies);
  showProblems(dependencies);
}

/** Shows that nobody answers since `since`, and when the page looks again. */
export function showAway(since, reason, seconds) {
  state("bad", "Away");
  setText(byId("service-text"), `since ${clock(since)}: ${reason} · looking again in ${seconds} s`);
}

function state(lamp, word) {
  const element = byId("service-state");
  if (element.textContent !== word && (lamp === "bad" || byId("lamp").classList.contains("bad"))) {
    setText(byId("spoken"), `The service is now: ${word}`);
  }
  byId("lamp").className = `lamp ${lamp}`;
  document.body.classList.toggle("away", word === "Away");
  setText(element, word);
}

/** The lowest position and the largest lag of any projection in a partition. */
function standing(name, projections) {
  const partition = Number(/^partition (\d+)$/.exec(name)?.[1] ?? NaN);
  const all = projections.flatMap((one) => one.partitions).filter((one) => one.partition === partition);
  const known = (field) => all.map((one) => one[field]).filter((one) => one !== null);
  if (all.length === 0) return {};
  return {
    position: known("position").length ? Math.min(...known("position")) : null,
    lag: known("lag").length ? Math.max(...known("lag")) : null,
  };
}

function showDependencies(dependencies) {
  const create = () => el("tr", {}, el("th", { scope: "row" }), ...Array.from({ length: 4 }, () => el("td")));
  list(byId("dependencies"), dependencies, (one) => one.name, create, (row, one) => {
    const [name, up, since, position, lag] = row.children;
    setText(name, one.name);
    setText(up, one.up ? "up" : "down");
    up.className = one.up ? "good" : "bad";
    if (since.dataset.since !== one.since) {
      since.dataset.since = one.since;
      since.replaceChildren(time(one.since));
    }
    for (const [cell, figure] of [[position, one.position], [lag, one.lag]]) {
      cell.className = "number";
      setText(cell, figure === undefined ? "" : figure === null ? "–" : number(figure));
    }
  });
}

/** What is wrong, or was lost: the same words once, however many partitions say them. */
function showProblems(dependencies) {
  const problems = new Map();
  for (const one of dependencies.filter((one) => one.problem || !one.up)) {
    const problem = one.problem ?? "it is down";
    const known = problems.get(problem) ?? { problem, names: [], up: one.up };
    known.names.push(one.name);
    problems.set(problem, known);
  }
  list(byId("problems"), [...problems.values()], (one) => one.problem, () => el("li"), (item, one) => {
    item.className = `alert ${one.up ? "warn" : "bad"}`;
    setText(item, `${one.names.join(", ")}: ${one.problem}`);
  });
}
