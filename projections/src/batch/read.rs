//! Reads records: what each is, and the data of its events in their newest form.

use crate::state::Mark;
use bytes::Bytes;
use refold_domain::commit::{self, Commit, DecodeError};
use refold_domain::hash::Hash;
use refold_domain::log::Offset;
use refold_domain::rule::{self, Rule};
use refold_domain::schema::{self, EventType, Unreadable};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// A record of the log, read.
#[derive(Debug)]
pub struct Record<'r> {
    pub(crate) mark: Mark,
    pub(crate) content: Content<'r>,
}

#[derive(Debug)]
pub(crate) enum Content<'r> {
    /// A commit, and the data of its events by command.
    Commit(Commit<'r>, Vec<Vec<Result<Data<'r>, String>>>),
    /// A genesis or `ready`: of the log's opening, which says nothing to a view.
    Opening,
    /// No record of this log.
    Foreign,
}

/// An event's data, brought up to date.
pub(crate) struct Data<'r> {
    pub(crate) kind: &'static EventType,
    whole: Cow<'r, str>,
    /// Without the private fields, where its type has some.
    public: Option<String>,
}

/// Reads records; where one is too new for this binary, those before it and why it cannot go on.
pub fn read(log: Uuid, records: &[(Offset, Bytes)]) -> (Vec<Record<'_>>, Option<String>) {
    let mut read = Vec::with_capacity(records.len());
    for (offset, bytes) in records {
        match Content::read(log, bytes) {
            Ok(content) => {
                let mark = Mark { offset: *offset, hash: Hash::of(bytes) };
                read.push(Record { mark, content });
            }
            Err(newer) => return (read, Some(format!("at offset {offset}: {newer}"))),
        }
    }
    (read, None)
}

/// How many commands these records hold.
pub fn commands(records: &[Record<'_>]) -> usize {
    let count = |record: &Record<'_>| match &record.content {
        Content::Commit(commit, _) => commit.commands.len(),
        Content::Opening | Content::Foreign => 0,
    };
    records.iter().map(count).sum()
}

impl Data<'_> {
    /// The data as anybody may see it: without private fields.
    pub(crate) fn text(&self) -> &str {
        self.public.as_deref().unwrap_or(&self.whole)
    }

    /// The data with its private fields: for nobody but the aggregate's own `apply`, and to hold it to its type.
    pub(crate) fn whole(&self) -> &str {
        &self.whole
    }
}

/// Who looks for a mistake must not find secrets.
impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name, self.text())
    }
}

impl<'r> Content<'r> {
    fn read(log: Uuid, bytes: &'r [u8]) -> Result<Self, String> {
        match commit::Record::decode(bytes) {
            // Void, whatever is in it; another log's events must not stop this one.
            Ok(commit::Record::Commit(commit))
                if commit.log != log && rule::holds(Rule::OtherLogsAreVoid) =>
            {
                Ok(Self::Foreign)
            }
            Ok(commit::Record::Commit(commit)) => {
                let by_command = |command: &commit::Command<'r>| command.events.iter().map(data).collect();
                let events = commit.commands.iter().map(by_command).collect::<Result<_, Unreadable>>();
                Ok(Self::Commit(commit, events.map_err(|newer| newer.to_string())?))
            }
            Ok(commit::Record::Ready(ready)) if ready.log == log => Ok(Self::Opening),
            // A partition's second genesis: whoever opened the log did not learn that the first was stored, or somebody who
            // opened it at the same time was faster.
            Ok(commit::Record::Genesis(_)) => Ok(Self::Opening),
            Err(DecodeError::Newer { log: of, .. }) if of != log => Ok(Self::Foreign),
            Err(newer @ DecodeError::Newer { .. }) => Err(newer.to_string()),
            Ok(_) | Err(DecodeError::Foreign(_)) => Ok(Self::Foreign),
        }
    }
}

fn data<'r>(event: &commit::Event<'r>) -> Result<Result<Data<'r>, String>, Unreadable> {
    let kind = schema::find(&event.kind)?;
    let read = kind.current(event.v, event.data).and_then(|whole| {
        let public = match kind.public(&whole)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(public) => Some(public),
        };
        Ok(Data { kind, whole, public })
    });
    match read {
        Ok(data) => Ok(Ok(data)),
        Err(Unreadable::Malformed(reason)) => Ok(Err(reason)),
        Err(newer) => Err(newer),
    }
}
