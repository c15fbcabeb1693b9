// The page: one stream tells what changed while somebody looks at the page. One and not one a view, for a browser opens six
// connections to a service at most. Whether the service is well is asked now and then, and less often while it is away.

import { Away, follow, read } from "./api.js";
import { byId } from "./dom.js";
import { startFacts } from "./fact.js";
import { startIntroductions } from "./introduction.js";
import { startLogin } from "./login.js";
import { startPurchases } from "./purchase.js";
import { showAway, showService } from "./service.js";
import { onChange } from "./session.js";
import { lookAtViews, readAgain } from "./views.js";

const LOOK_SECONDS = 2;
const AWAY_SECONDS_MAX = 15;

startTabs();
startLogin();
onChange(readAgain);
startFacts();
startPurchases();
startIntroductions(() => open(byId("tab-introduction")));
startLooking();

function startLooking() {
  let timer = null;
  let isLooking = false;
  let pause = LOOK_SECONDS;
  let awaySince = null;
  let stream = null;
  let readiness = null;
  let told = null;

  const look = async () => {
    timer = null;
    isLooking = true;
    try {
      const answer = await read("/readyz");
      if (!answer.body?.dependencies) throw new Away("it answers oddly");
      readiness = answer.body;
      const isBack = awaySince !== null;
      [awaySince, pause] = [null, LOOK_SECONDS];
      if (isBack || !stream) listen(isBack);
      showState();
      next(pause);
    } catch (error) {
      if (!(error instanceof Away)) {
        next(pause);
        throw error;
      }
      awaySince ??= new Date();
      pause = Math.min(pause * 2, AWAY_SECONDS_MAX);
      countDown(pause, error.message);
    } finally {
      isLooking = false;
    }
  };
  const listen = (isBack) => {
    stream?.close();
    const show = newest((projections, isFirst) => lookAtViews(projections, isFirst && isBack));
    const hear = (projections) => {
      told = projections;
      showState();
      show(projections);
    };
    // The next look tries again.
    stream = follow("/projections/live", hear, () => (stream = null));
  };
  const showState = () => {
    if (readiness && told && !awaySince) showService(readiness, told);
  };
  const next = (seconds, what = look) => {
    if (!document.hidden) timer = setTimeout(what, seconds * 1000);
  };
  const countDown = (seconds, reason) => {
    if (seconds === 0) return look();
    showAway(awaySince, reason, seconds);
    next(1, () => countDown(seconds - 1, reason));
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else if (!isLooking) look();
  });
  look();
}

/** Does something with what it is given, one at a time: what comes meanwhile waits, and only the newest is done. */
function newest(work) {
  let waiting = null;
  let isBusy = false;
  let isFirst = true;
  return async (what) => {
    waiting = { what };
    if (isBusy) return;
    isBusy = true;
    try {
      while (waiting) {
        const { what } = waiting;
        waiting = null;
        await work(what, isFirst);
        isFirst = false;
      }
    } catch (error) {
      // That the service is away is noticed by looking.
      if (!(error instanceof Away)) throw error;
    } finally {
      isBusy = false;
    }
  };
}

function startTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const step = { ArrowRight: 1, ArrowLeft: -1 };
  for (const tab of tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (!(event.key in step)) return;
      const to = tabs[(tabs.indexOf(tab) + step[event.key] + tabs.length) % tabs.length];
      open(to);
      to.focus();
    });
  }
}

function open(chosen) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isChosen = tab === chosen;
    tab.setAttribute("aria-selected", isChosen);
    tab.tabIndex = isChosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
  }
}
