// The views: a card for each, read again whenever something was folded, and updated in place.

import { Away, read } from "./api.js";
import { byId, clone, el, list, number, plural, setText, show } from "./dom.js";
import { lockedLine } from "./login.js";
import { meets } from "./session.js";
import { MEASURES, byCount, byStep, showEvents, showNumbers } from "./table.js";

const SHOWN_FIRST = 10;
const SHOWN_MAX = 5_000;
const PAGE_MAX = 1_000;
// How long to wait after a key before a filter is used.
const TYPING_MS = 300;

const cards = new Map();
const receipts = new Set();
const actions = new Map();
let listed = "";

/** Puts buttons, made by `make(event)`, beside each event of a view. */
export function addActions(view, make) {
  actions.set(view, make);
}

/** Looks for views that came, went or changed, and reads those in which something was folded; `isBack` reads all. */
export async function lookAtViews(projections, isBack) {
  const names = JSON.stringify(projections.map((one) => [one.name, one.generation]));
  if (names !== listed || isBack) {
    const answer = await read("/views");
    if (!answer.isOk) return;
    showCards(answer.body);
    listed = names;
  }
  await Promise.all(projections.map((one) => cards.get(one.name)?.look(one)));
}

/** Reads every view as soon as the command of this receipt can be seen in it. Answers whether that came in time. */
export async function readWithReceipt(receipt) {
  receipts.add(receipt);
  const seen = await Promise.all([...cards.values()].map((card) => card.read(receipt)));
  return seen.every(Boolean);
}

/** Reads every view again, for somebody else may see other ones now. */
export function readAgain() {
  for (const card of cards.values()) card.read();
}

/** The newest events of a view that are shown now. */
export const eventsOf = (view) => cards.get(view)?.cells ?? [];

function showCards(views) {
  const create = (view) => {
    const card = new Card(view);
    cards.set(view.name, card);
    return card.root;
  };
  const place = byId("view-list");
  list(place, views, (view) => view.name, create, (_, view) => cards.get(view.name).describe(view));
  for (const name of cards.keys()) if (!views.some((view) => view.name === name)) cards.delete(name);
  if (views.length === 0) place.append(el("p", { class: "quiet" }, "There are no views: no projection is defined."));
}

class Card {
  cells = [];
  wanted = SHOWN_FIRST;
  turn = 0;
  isFirst = true;

  constructor(view) {
    this.name = view.name;
    this.kind = view.kind;
    this.fields = view.fields;
    this.root = clone("view");
    this.root.id = `view-${view.name}`;
    this.find = (selector) => this.root.querySelector(selector);
    this.find("h3").id = `title-${view.name}`;
    this.root.setAttribute("aria-labelledby", `title-${view.name}`);
    this.find("table").setAttribute("role", "table");
    this.find(".more").addEventListener("click", () => this.want(this.wanted * (this.wanted < 1000 ? 5 : 2)));
    this.find(".fewer").addEventListener("click", () => this.want(SHOWN_FIRST));
    this.filters = filtersOf(view, () => this.read());
    this.find(".filters").append(...this.filters.nodes);
    this.find(".filters").addEventListener("submit", (event) => {
      event.preventDefault();
      this.read();
    });
    show(this.find(".filters"), view.fields.length > 0);
  }

  /** Shows what is said about the view. */
  describe(view) {
    this.needs = view.needs;
    const title = view.title ?? view.name;
    setText(this.find("h3"), title);
    setText(this.find(".name"), view.name);
    setText(this.find(".kind"), view.kind);
    setText(this.find(".description"), view.description ?? "");
    setText(this.find("caption"), title);
    setText(this.find("pre code"), view.definition);
    this.find("pre").setAttribute("aria-label", `Definition of ${title}`);
    this.find(".filters").setAttribute("aria-label", `Select in ${title}`);
  }

  /** Shows how the projection stands, and reads the view if something was folded since it was read. */
  async look(projection) {
    this.showState(projection);
    const folded = JSON.stringify([projection.state, projection.partitions.map((one) => one.position)]);
    if (folded !== this.folded && (await this.read())) this.folded = folded;
  }

  showState({ state, partitions }) {
    const chip = this.find(".state");
    setText(chip, state);
    chip.className = `chip state ${state}`;
    show(this.find(".catching-up"), state === "folding");
    if (state === "folding") {
      const sum = (field) => partitions.reduce((total, one) => total + (field(one) ?? 0), 0);
      const [done, target] = [sum((one) => Math.min(one.position, one.target)), sum((one) => one.target)];
      const progress = this.find("progress");
      progress.max = Math.max(1, target);
      progress.value = done;
      progress.setAttribute("aria-label", `Folding ${this.name}`);
      setText(this.find(".catching-up span"), `${number(done)} of ${plural(target, "record")}`);
    }
  }

  want(count) {
    this.wanted = Math.min(count, SHOWN_MAX);
    return this.read();
  }

  /** Reads the view and shows it, unless a later reading was begun meanwhile. Answers whether there was an answer. */
  async read(receipt) {
    const turn = ++this.turn;
    this.showLock(!meets(this.needs));
    if (!meets(this.needs)) return true;
    const answer = await this.fetch(receipt);
    // What was begun later may still have been answered without the command of the receipt.
    if (turn !== this.turn) return receipt ? this.read() : answer.isOk;
    this.showProblem(answer.isOk ? null : answer.body);
    if (answer.isOk) this.showCells(answer.cells, answer.isMore);
    return answer.isOk;
  }

  /** As many pages as are wanted, from the first, so that they fit together. */
  async fetch(receipt) {
    const enough = this.isOrderedHere() ? Math.max(this.wanted, PAGE_MAX) : this.wanted;
    const cells = [];
    let next = null;
    do {
      const limit = Math.min(PAGE_MAX, enough - cells.length);
      const parameters = new URLSearchParams([...this.filters.values(), ["limit", limit], ...(next ? [["cursor", next]] : [])]);
      const answer = await this.ask(`/views/${encodeURIComponent(this.name)}?${parameters}`, receipt);
      if (!answer.isOk) return answer;
      // Of a view with a single cell, that is the answer.
      cells.push(...[answer.body.data].flat());
      next = answer.body.next;
    } while (next && cells.length < enough);
    return { isOk: true, cells, isMore: Boolean(next) };
  }

  /** The service orders by key first: only where one is selected are the newest rows the first. */
  isOrderedHere() {
    return this.kind !== "rows" || this.filters.values().length < this.fields.length;
  }

  async ask(path, receipt) {
    try {
      return await read(path, receipt);
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      return { isOk: false, body: null };
    }
  }

  /** Shows a line instead of what not everybody may see. */
  showLock(isLocked) {
    if (isLocked) {
      this.showCells([], false);
      this.isFirst = true;
    }
    setText(this.find(".locked"), isLocked ? lockedLine(this.needs) : "");
    for (const part of [".filters", ".scroll", "footer", ".message"]) this.find(part).classList.toggle("withheld", isLocked);
    show(this.find(".locked"), isLocked);
  }

  /** What the service says is wrong; that it is away is said elsewhere, and folding has its progress. */
  showProblem(problem) {
    const message = this.find(".message");
    const isShown = Boolean(problem) && !String(problem.type).endsWith(":folding");
    setText(message, isShown ? `${problem.title}: ${problem.detail}` : "");
    message.classList.toggle("bad", problem?.status >= 500);
    show(message, isShown);
    if (problem) setText(this.find(".shown"), this.cells.length ? "This is how it was when it could be read." : "");
  }

  showCells(cells, isMore) {
    const measures = MEASURES[this.kind];
    if (this.kind === "counts") cells.sort(byCount);
    else if (this.kind === "series") cells.sort(byStep);
    else if (!measures && this.isOrderedHere()) cells.sort((a, b) => Date.parse(b.time) - Date.parse(a.time));
    this.cells = cells;
    const shown = cells.slice(0, this.wanted);
    const table = this.find("table");
    if (measures) showNumbers(table, shown, this.isFirst, measures);
    else showEvents(table, shown, this.isFirst, { actions: actions.get(this.name), isMine });
    this.isFirst = false;
    this.showFooter(shown.length, cells, isMore);
  }

  showFooter(shown, cells, isMore) {
    const all = `${isMore ? "more than " : ""}${number(cells.length)}`;
    let text = cells.length === 0 ? this.nothing() : `${number(shown)} of ${all} shown`;
    if (isMore && this.isOrderedHere()) text += `, out of the first ${number(cells.length)} in the order of their keys`;
    else if (this.kind === "counts" && cells.length) {
      text += ` · ${number(cells.reduce((sum, cell) => sum + cell.count, 0))} counted in all`;
    }
    setText(this.find(".shown"), text);
    show(this.find(".more"), (shown < cells.length || isMore) && this.wanted < SHOWN_MAX);
    show(this.find(".fewer"), this.wanted > SHOWN_FIRST);
  }

  nothing() {
    return this.filters.values().length ? "Nothing is selected by this." : "Nothing yet. Record something, and it shows up here.";
  }
}

/** Whether an event was written by a command that was sent from here. */
function isMine(event) {
  return receipts.has(String(event.id).replace(/\.\d+$/, ""));
}

/** Inputs for the fields that a view can be asked for. */
function filtersOf(view, changed) {
  const inputs = view.fields.map((field) => el("input", { name: field, id: `filter-${view.name}-${field}`, placeholder: "all", spellcheck: "false" }));
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(changed, TYPING_MS);
  };
  const nodes = inputs.map((input) => {
    input.addEventListener("input", soon);
    return el("label", { for: input.id }, `${input.name} `, input);
  });
  // An empty input asks for everything.
  const values = () => inputs.filter((input) => input.value !== "").map((input) => [input.name, input.value]);
  return { nodes, values };
}
