// The page: looks at the service once a second while somebody looks at the page, and less often while it is away.

import { Away, read } from "./api.js";
import { byId } from "./dom.js";
import { startFacts } from "./fact.js";
import { startIntroductions } from "./introduction.js";
import { startPurchases } from "./purchase.js";
import { showAway, showService } from "./service.js";
import { lookAtViews } from "./views.js";

const LOOK_SECONDS = 1;
const AWAY_SECONDS_MAX = 15;

startTabs();
startFacts();
startPurchases();
startIntroductions(() => open(byId("tab-introduction")));
startLooking();

function startLooking() {
  let timer = null;
  let isLooking = false;
  let pause = LOOK_SECONDS;
  let awaySince = null;

  const look = async () => {
    timer = null;
    isLooking = true;
    try {
      await lookOnce(awaySince !== null);
      [awaySince, pause] = [null, LOOK_SECONDS];
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
    if (!document.hidden && !isLooking) look();
  });
  look();
}

async function lookOnce(isBack) {
  const [readiness, projections] = await Promise.all([read("/readyz"), read("/projections")]);
  if (!readiness.body?.dependencies || !projections.isOk) throw new Away("it answers oddly");
  showService(readiness.body, projections.body);
  await lookAtViews(projections.body, isBack);
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
