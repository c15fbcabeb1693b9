//! What is sent next: the systems take turns, a request each, with one command or as many as it may have lines.

use super::file::File;
use super::samples::Samples;
use super::system::System;
use anyhow::Result;
use bytes::Bytes;

/// After how many bytes a request takes no further line; the service takes twice that unless it is told otherwise.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// Whom it is for.
    pub(super) system: System,
    /// How many commands were planned before.
    pub(super) number: u64,
    /// How many it has.
    pub(super) commands: u64,
    /// Whether they stand on lines.
    pub(super) is_lines: bool,
    /// What is sent.
    pub(super) body: Bytes,
    /// Where each of them stands in the file, if they come from one.
    pub(super) places: Vec<u64>,
}

/// Where commands come from.
#[derive(Debug)]
pub(super) enum Source {
    /// They are made up.
    Samples(Samples),
    /// They are read.
    File(File),
}

/// All that is to be sent.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Source,
    /// Whose turn it is, one after the other.
    pub(super) systems: Vec<System>,
    /// How many commands a request has at most.
    pub(super) lines: usize,
    /// How many commands there are to be, if there is to be an end.
    pub(super) count: Option<u64>,
    /// How many requests were planned.
    turn: usize,
    /// How many commands were planned.
    number: u64,
}

impl Batch {
    /// What people call its `index`th command.
    pub(super) fn name(&self, index: usize) -> String {
        match self.places.get(index) {
            Some(line) => format!("{}, line {line} of the file", self.system.name()),
            None => format!("{}, command {}", self.system.name(), self.number + index as u64 + 1),
        }
    }
}

impl Plan {
    /// Nothing of it is sent yet.
    pub(super) fn new(source: Source, systems: Vec<System>, lines: usize, count: Option<u64>) -> Self {
        let count = match &source {
            Source::Samples(_) => count,
            Source::File(file) => Some(count.unwrap_or(u64::MAX).min(file.commands())),
        };
        Self { source, systems, lines, count, turn: 0, number: 0 }
    }

    /// How many commands were planned up to now.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next request, unless that was all.
    ///
    /// # Errors
    /// Where the file cannot be read any more.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        let left = self.count.map_or(u64::MAX, |count| count - self.number);
        let system = self.systems[self.turn % self.systems.len()];
        let is_lines = self.lines > 1 && system.takes_lines();
        let commands_max = left.min(if is_lines { self.lines as u64 } else { 1 });
        let (mut body, mut commands, mut places) = (Vec::new(), 0, Vec::new());
        while commands < commands_max && body.len() < REQUEST_BYTES_MAX {
            let Some((json, place)) = self.command(system)? else { break };
            if commands > 0 {
                body.push(b'\n');
            }
            body.extend(json);
            places.extend(place);
            commands += 1;
        }
        let batch = Batch { system, number: self.number, commands, is_lines, body: body.into(), places };
        self.turn += 1;
        self.number += commands;
        Ok((commands > 0).then_some(batch))
    }

    fn command(&mut self, system: System) -> Result<Option<(Vec<u8>, Option<u64>)>> {
        match &mut self.source {
            Source::Samples(samples) => Ok(Some((samples.next(system), None))),
            Source::File(file) => Ok(file.next()?.map(|command| (command.json, Some(command.line)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The systems and sizes of all requests.
    fn planned(systems: &[System], lines: usize, count: u64) -> Vec<(System, u64)> {
        let source = Source::Samples(Samples::new(1));
        let mut plan = Plan::new(source, systems.to_vec(), lines, Some(count));
        let mut planned = Vec::new();
        while let Some(batch) = plan.next().unwrap() {
            assert_eq!(batch.number + batch.commands, plan.number());
            assert_eq!(batch.body.split(|byte| *byte == b'\n').count() as u64, batch.commands);
            planned.push((batch.system, batch.commands));
        }
        planned
    }

    #[test]
    fn systems_take_turns() {
        let seven = planned(&System::ALL, 1, 7);
        assert_eq!(seven[..5], System::ALL.map(|system| (system, 1)));
        assert_eq!(seven[5..], [(System::Introductions, 1), (System::Foods, 1)]);
    }

    #[test]
    fn introductions_are_sent_alone() {
        let systems = [System::Introductions, System::Foods];
        let expected =
            [(System::Introductions, 1), (System::Foods, 10), (System::Introductions, 1), (System::Foods, 3)];
        assert_eq!(planned(&systems, 10, 15), expected);
    }

    #[test]
    fn a_request_has_so_many_bytes() {
        let batches = planned(&[System::Purchases], usize::MAX, 100_000);
        assert!(batches.len() > 1, "{batches:?}");
        assert_eq!(batches.iter().map(|(_, commands)| commands).sum::<u64>(), 100_000);
    }
}
