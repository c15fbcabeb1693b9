//! Holds what clients were told and shown against what the log means.

use super::client::{Answer, Asked, Seen};
use super::intent::Command as Wanted;
use super::log::Change;
use super::model::{Command, Model, Partition};
use crate::commands::{CommandError, Recorded};
use refold_domain::decision::{Expected, Rejection};
use refold_domain::hash::partition_of;
use refold_domain::introductions;
use refold_domain::receipt::Receipt;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// A promise that was broken, in words.
type Broken = String;

/// Holds everything that a schedule showed against its log.
pub(super) fn all(
    partitions: u32,
    changes: &[Change],
    asked: &[Asked],
    seen: &[Seen],
) -> Result<Model, Broken> {
    let model = replay(partitions, changes, asked)?;
    let by_receipt = model.commands().map(|command| (command.receipt, command)).collect();
    let mut by_trace = BTreeMap::<&str, Vec<&Command>>::new();
    for command in model.commands().filter(|command| command.counts) {
        by_trace.entry(&command.trace).or_default().push(command);
    }
    let told = Told { model: &model, by_receipt, by_trace };
    asked.iter().try_for_each(|asked| told.answer(asked))?;
    model.partitions.iter().try_for_each(|partition| sound(&model, partition))?;
    if !model.has_lost {
        seen.iter().try_for_each(|seen| told.view(seen))?;
    }
    Ok(model)
}

/// The log's meaning in the end; on the way, each rejection must have been right at some moment.
fn replay(partitions: u32, changes: &[Change], asked: &[Asked]) -> Result<Model, Broken> {
    let mut model = Model::new(partitions);
    let mut open: Vec<&Asked> = asked.iter().filter(|asked| is_judged(&asked.answer)).collect();
    for moment in 0..=changes.len() {
        open.retain(|asked| {
            let (from, to) = asked.during;
            !((from..=to).contains(&moment) && could_be_told(&model, asked))
        });
        if let Some(change) = changes.get(moment) {
            model.pass(change);
        }
    }
    match open.first() {
        // What is lost may have been right.
        Some(asked) if !model.has_lost => Err(format!("{} was never right: {asked:?}", asked.trace)),
        _ => Ok(model),
    }
}

fn is_judged(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(CommandError::Rejected(_) | CommandError::KeyReused))
}

/// Whether the log, as it stood, gives a client reason to be told this.
fn could_be_told(model: &Model, asked: &Asked) -> bool {
    let Answer::Failed(error) = &asked.answer else { return true };
    let partition = &model.partitions[partition_of(&asked.intent.partition_key, partitions(model)) as usize];
    let key = asked.intent.idempotency.as_ref().and_then(|key| partition.stream(key));
    let is_reused = key.is_some_and(|key| key.hash != Some(asked.intent.command.hash()));
    match error {
        CommandError::KeyReused => is_reused,
        CommandError::Rejected(rejection) => {
            key.is_none() && is_right(partition, &asked.intent.command, rejection)
        }
        _ => true,
    }
}

fn is_right(partition: &Partition, command: &Wanted, rejection: &Rejection) -> bool {
    match command {
        Wanted::Food(_) | Wanted::Detection(_) => false,
        Wanted::Purchase(purchase) => {
            let recorded = partition.stream(&purchase.stream());
            matches!(rejection, Rejection::Conflict(_))
                && recorded.is_some_and(|it| it.hash != Some(command.hash()))
        }
        Wanted::Introduction(id, command) => {
            let stands = partition.stream(&introductions::stream(id)).and_then(|it| it.introduction);
            match (stands, command, rejection) {
                (None, _, Rejection::NotFound(_)) => !matches!(command, introductions::Command::Introduce(_)),
                (Some(_), introductions::Command::Introduce(_), Rejection::Conflict(_)) => true,
                (Some((_, true)), introductions::Command::Revise(..), Rejection::Gone(_)) => true,
                (Some((_, true)), introductions::Command::Withdraw(_), Rejection::Gone(_)) => true,
                (
                    Some((version, false)),
                    introductions::Command::Revise(expected, _),
                    Rejection::Stale(_),
                )
                | (Some((version, false)), introductions::Command::Withdraw(expected), Rejection::Stale(_)) => {
                    !is_among(expected, version)
                }
                _ => false,
            }
        }
    }
}

fn is_among(expected: &Expected, version: u64) -> bool {
    match expected {
        Expected::Any => true,
        Expected::OneOf(versions) => versions.contains(&version),
    }
}

fn partitions(model: &Model) -> u32 {
    u32::try_from(model.partitions.len()).expect("a few")
}

struct Told<'m> {
    model: &'m Model,
    by_receipt: BTreeMap<Receipt, &'m Command>,
    by_trace: BTreeMap<&'m str, Vec<&'m Command>>,
}

impl Told<'_> {
    fn answer(&self, asked: &Asked) -> Result<(), Broken> {
        let counted = self.by_trace.get(asked.trace.as_str()).map_or(0, Vec::len);
        let ensure = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{what}, counted {counted} times: {asked:?}")) }
        };
        ensure(counted <= 1, "one request counted more than once")?;
        match &asked.answer {
            Answer::Recorded(recorded) => self.recorded(asked, recorded),
            Answer::None | Answer::Failed(CommandError::OutcomeUnknown(_) | CommandError::Failed(_)) => {
                Ok(())
            }
            Answer::Failed(CommandError::Lost(receipt)) => {
                ensure(self.is_lost(receipt), "what was told to be lost was not")
            }
            // What was void in a history that the broker lost may count in the one that came after it.
            Answer::Failed(
                CommandError::Rejected(_)
                | CommandError::KeyReused
                | CommandError::Contended
                | CommandError::Behind(_),
            ) if self.model.has_lost => Ok(()),
            Answer::Failed(_) => ensure(counted == 0, "what was told not to be recorded counts"),
        }
    }

    fn recorded(&self, asked: &Asked, recorded: &Recorded) -> Result<(), Broken> {
        let Some(command) = self.by_receipt.get(&recorded.receipt) else {
            let is_lost = self.is_lost(&recorded.receipt);
            return if is_lost {
                Ok(())
            } else {
                Err(format!("the log does not hold what was told recorded: {asked:?}"))
            };
        };
        let ensure = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{what}: {asked:?}; on the log stands {command:?}")) }
        };
        ensure(command.counts || self.is_lost(&recorded.receipt), "what was told recorded is void")?;
        ensure(recorded.is_repeat() || command.trace == asked.trace, "a receipt names another's command")?;
        let is_same = !recorded.is_repeat() || command.hash == Some(asked.intent.command.hash());
        ensure(is_same, "a repeat was answered with another command")?;
        let events: Vec<Json> = recorded
            .events
            .iter()
            .map(|event| serde_json::from_str(event.data.get()).expect("JSON"))
            .collect();
        let on_log: Vec<_> = command.events.iter().map(|event| event.data.clone()).collect();
        ensure(events == on_log, "an answer differs from the log")
    }

    fn is_lost(&self, receipt: &Receipt) -> bool {
        let is_gone = self.model.lost.contains(&(receipt.partition, receipt.writer, receipt.seq));
        let partition = &self.model.partitions[receipt.partition as usize];
        is_gone || self.model.has_lost && partition.has_passed_over(receipt.writer, receipt.seq)
    }

    /// A view shows what counts up to the position that it names, and what its reader waited for.
    fn view(&self, seen: &Seen) -> Result<(), Broken> {
        for receipt in &seen.receipts {
            let place = self.by_receipt.get(receipt).map(|command| command.offset);
            if place > seen.offsets[receipt.partition as usize] {
                return Err(format!("a view misses what its reader had waited for, {place:?}: {seen:?}"));
            }
        }
        if seen.targets.iter().zip(&seen.offsets).any(|(target, offset)| offset < target) {
            return Err(format!("a view was answered before it was folded to its target: {seen:?}"));
        }
        same(&seen.data, &self.model.view(&seen.view, &seen.offsets), || format!("a view is wrong: {seen:?}"))
    }
}

/// Two answers, apart from their order.
pub(super) fn same(shown: &[Json], right: &[Json], what: impl Fn() -> String) -> Result<(), Broken> {
    let sorted = |data: &[Json]| {
        let mut lines: Vec<_> = data.iter().map(Json::to_string).collect();
        lines.sort_unstable();
        lines
    };
    let (shown, right) = (sorted(shown), sorted(right));
    if shown == right { Ok(()) } else { Err(format!("{}\n  shown {shown:#?}\n  right {right:#?}", what())) }
}

/// What no log may hold, whatever happened.
fn sound(model: &Model, partition: &Partition) -> Result<(), Broken> {
    let ensure = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    let seen = &partition.seen;
    let lost_nothing = !model.has_lost;
    ensure(
        seen.gaps == 0 || !lost_nothing,
        format!("numbers are left out, though nothing was lost: {seen:?}"),
    )?;
    ensure(
        seen.forks == 0 || !lost_nothing,
        format!("a writer wrote two things under one number: {seen:?}"),
    )?;
    let mut versions = BTreeMap::<&str, (u64, bool)>::new();
    let mut purchases = BTreeMap::<&str, u32>::new();
    for command in partition.commands.iter().filter(|command| command.counts) {
        for event in &command.events {
            let key = event.key.as_deref().unwrap_or_default();
            if event.kind.starts_with("introduction.") {
                let (version, is_withdrawn) = versions.entry(key).or_default();
                *version += 1;
                ensure(!*is_withdrawn, format!("{key} changed after it was withdrawn: {command:?}"))?;
                ensure(event.data["version"] == *version, format!("{key} is not at {version}: {command:?}"))?;
                *is_withdrawn = event.kind == "introduction.withdrawn";
            } else if event.kind == "purchase.recorded" {
                let count = purchases.entry(key).or_default();
                *count += 1;
                ensure(*count == 1, format!("purchase {key} counts twice: {command:?}"))?;
            }
        }
    }
    Ok(())
}
