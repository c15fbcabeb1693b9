//! Plays a plan: starts each request when it is due and there is a connection for it, and gathers what becomes of all.

use super::pace::Pace;
use super::plan::{Batch, Plan};
use super::progress::Progress;
use super::sender::{Outcome, Sender};
use super::tally::{Summary, Tally};
use anyhow::{Context, Result};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// How many commands may be sent while an older one is under way. The service remembers a key until 100,000 others have
/// come to its partition: within half of that a repeat counts once, even if all went to the same one.
const AHEAD_MAX: u64 = 50_000;
/// How long requests that are under way are waited for when somebody ends it.
const STOP_WAIT: Duration = Duration::from_secs(10);

type UnderWay<'s> = Pin<Box<dyn Future<Output = Done> + 's>>;

/// Plays a plan.
pub(super) struct Player<'s> {
    plan: Plan,
    pace: Pace,
    sender: &'s Sender,
    connections: usize,
    under_way: FuturesUnordered<UnderWay<'s>>,
    /// The requests that are under way, by their numbers.
    batches: BTreeMap<u64, Batch>,
    tally: Tally,
    progress: Progress,
    /// Nothing more is started.
    is_over: bool,
    /// Why, if there was more to be sent.
    ended: Option<String>,
    /// The first that failed: its number, and its name.
    failed: Option<(u64, String)>,
    /// The name of the last that was sent.
    last: Option<String>,
    /// When it ends whatever is under way.
    stop_at: Option<Instant>,
}

/// What became of a request, and how long after it was due.
struct Done {
    number: u64,
    outcome: Outcome,
    latency: Duration,
}

/// What there is to do next.
enum Next {
    Done(Done),
    Due,
    Show,
    Stop,
}

impl<'s> Player<'s> {
    pub(super) fn new(plan: Plan, pace: Pace, sender: &'s Sender, connections: usize) -> Self {
        let progress = Progress::start(plan.count.is_some() || pace.gone().is_some());
        let tally = Tally::new(&plan.systems);
        Self {
            plan,
            pace,
            sender,
            connections,
            under_way: FuturesUnordered::new(),
            batches: BTreeMap::new(),
            tally,
            progress,
            is_over: false,
            ended: None,
            failed: None,
            last: None,
            stop_at: None,
        }
    }

    /// Plays it to its end, or until somebody ends it.
    pub(super) async fn run(mut self) -> Result<Summary> {
        let mut signals = Signals::new()?;
        loop {
            let due = self.start();
            if self.is_over && self.under_way.is_empty() {
                break;
            }
            match self.next(due, &mut signals).await {
                Next::Done(done) => self.note(&done),
                Next::Due => {}
                Next::Show => self.show(),
                Next::Stop if self.stop_at.is_none() => self.stop(),
                Next::Stop => self.abandon(),
            }
        }
        self.progress.end();
        let elapsed = self.pace.began.elapsed();
        let place = self.place();
        let ended = self.ended.map(|why| format!("{why}{place}"));
        Ok(self.tally.summary(elapsed, ended))
    }

    /// Where it goes on after a failure, for people.
    fn place(&self) -> String {
        let (Some((_, failed)), Some(last)) = (&self.failed, &self.last) else { return String::new() };
        format!("; it goes on at {failed}: all before it was answered, and nothing after {last} was sent")
    }

    fn show(&self) {
        self.progress.show(&self.tally, &self.sender.repeating(), &self.pace, self.plan.count);
    }

    /// Starts all that is due; answers when something will be next, unless first something must be done.
    fn start(&mut self) -> Option<Instant> {
        while !self.is_over && self.under_way.len() < self.connections && !self.is_too_far_ahead() {
            let now = Instant::now();
            let Some(due) = self.pace.due(self.plan.number(), now) else {
                self.is_over = true;
                break;
            };
            if due > now {
                return Some(due);
            }
            match self.plan.next() {
                Ok(Some(batch)) => self.send(batch, due),
                Ok(None) => self.is_over = true,
                Err(error) => self.end(&format!("{error:#}")),
            }
        }
        None
    }

    fn is_too_far_ahead(&self) -> bool {
        self.batches.keys().next().is_some_and(|oldest| self.plan.number() - oldest >= AHEAD_MAX)
    }

    fn send(&mut self, batch: Batch, due: Instant) {
        let (sender, number) = (self.sender, batch.number);
        self.batches.insert(number, batch.clone());
        self.last = Some(batch.name(usize::try_from(batch.commands).unwrap_or(usize::MAX).saturating_sub(1)));
        self.under_way.push(Box::pin(async move {
            let outcome = sender.send(&batch).await;
            Done { number, outcome, latency: due.elapsed() }
        }));
    }

    async fn next(&mut self, due: Option<Instant>, signals: &mut Signals) -> Next {
        tokio::select! {
            Some(done) = self.under_way.next() => Next::Done(done),
            () = until(due) => Next::Due,
            () = self.progress.tick() => Next::Show,
            () = signals.next() => Next::Stop,
            () = until(self.stop_at) => Next::Stop,
        }
    }

    fn note(&mut self, Done { number, outcome, latency }: &Done) {
        let batch = self.batches.remove(number).expect("what is done was under way");
        self.tally.note(batch.system, outcome, *latency);
        self.note_failed(&batch, outcome);
        outcome.told.iter().for_each(|what| self.progress.tell(what));
        if let Some(why) = &outcome.end {
            self.end(why);
        }
    }

    fn note_failed(&mut self, batch: &Batch, outcome: &Outcome) {
        let is_first = self.failed.as_ref().is_none_or(|(first, _)| batch.number < *first);
        if outcome.failed > 0 && is_first {
            self.failed = Some((batch.number, batch.name(0)));
        }
    }

    /// Starts no more, though there is more.
    fn end(&mut self, why: &str) {
        self.is_over = true;
        self.ended.get_or_insert_with(|| why.to_owned());
    }

    /// Starts no more, and waits a while for what is under way.
    fn stop(&mut self) {
        let has_end = self.plan.count.is_some() || self.pace.gone().is_some();
        if has_end && !self.is_over {
            self.end("it was ended before its end");
        }
        self.is_over = true;
        self.stop_at = Some(Instant::now() + STOP_WAIT);
        if !self.batches.is_empty() {
            self.progress.say("waiting for the last answers; Ctrl-C once more ends it at once");
        }
    }

    /// Waits no longer: nobody knows what becomes of what is under way.
    fn abandon(&mut self) {
        self.under_way.clear();
        for batch in std::mem::take(&mut self.batches).into_values() {
            let failed = Outcome { failed: batch.commands, ..Outcome::default() };
            self.tally.note(batch.system, &failed, STOP_WAIT);
            self.note_failed(&batch, &failed);
        }
        self.end("it was ended before the last answers came");
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => pending().await,
    }
}

/// Somebody wants it to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
