//! How it is going, on standard error: a bar on a terminal, or else a line now and then.

use super::pace::Pace;
use super::sender::Repeating;
use super::tally::{Counts, Tally, per_second};
use crate::plain::lines;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// How often a bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// How finely a bar is divided.
const BAR_STEPS: u64 = 1_000;
/// How many things that went wrong are told; more are only counted.
const TOLD_MAX: usize = 20;

/// Shows how it is going.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    ticks: Interval,
    told: usize,
}

impl Progress {
    /// Begins; `has_end` where one can tell how much is left.
    pub(super) fn start(has_end: bool) -> Self {
        let length = has_end.then_some(BAR_STEPS);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let template = if has_end { "{percent:>3}% {bar:24} {msg}, {eta} left" } else { "{spinner} {msg}" };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
        let mut ticks = interval(if bar.is_hidden() { LINE_EVERY } else { BAR_EVERY });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once, when there is nothing to tell.
        ticks.reset();
        Self { bar, ticks, told: 0 }
    }

    /// When it is time to show it again.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    /// Shows it.
    pub(super) fn show(&self, tally: &Tally, repeating: &Repeating, pace: &Pace, count: Option<u64>) {
        let text = text(tally.counts(), repeating, pace.began);
        if self.bar.is_hidden() {
            anstream::eprintln!("refold: {text}");
            return;
        }
        self.bar.set_message(text);
        let of_count = count.map(|count| tally.counts().sent as f64 / count as f64);
        let done = [pace.gone(), of_count].into_iter().flatten().reduce(f64::max);
        if let Some(done) = done {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 1")]
            self.bar.set_position((done * BAR_STEPS as f64) as u64);
        }
        self.bar.tick();
    }

    /// Tells what went wrong, unless enough is told.
    pub(super) fn tell(&mut self, what: &str) {
        self.told += 1;
        match self.told {
            ..=TOLD_MAX => self.say(what),
            told if told == TOLD_MAX + 1 => self.say("more went wrong, which is only counted"),
            _ => {}
        }
    }

    /// Tells something.
    pub(super) fn say(&self, what: &str) {
        self.bar.suspend(|| anstream::eprintln!("refold: {}", lines(what)));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn text(counts: Counts, repeating: &Repeating, began: Instant) -> String {
    let Counts { sent, rejected, failed, .. } = counts;
    let mut text =
        format!("{} commands, {:.0} a second", HumanCount(sent), per_second(sent, began.elapsed()));
    for (count, what) in [(rejected, "rejected"), (failed, "failed")] {
        if count > 0 {
            text += &format!(", {} {what}", HumanCount(count));
        }
    }
    let Repeating { requests, why } = repeating;
    if *requests > 0 {
        text += &format!("; repeating {requests} requests: {why}");
    }
    text
}
