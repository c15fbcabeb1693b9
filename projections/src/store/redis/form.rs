//! How what a store is asked and holds looks in Redis.

use super::catalogue;
use super::keys::PartitionKeys;
use super::script::{Call, FLUSH, LOAD, SCAN};
use crate::state::{Epoch, Head, Mark};
use crate::store::damage::Damaged;
use crate::store::{Blob, Flush, Flushed, Loaded, Range, Scanned, Wanted};
use anyhow::{Context, bail};
use redis::Value;
use std::ops::Bound;

/// The version of a partition that has ended.
const GONE: &[u8] = b"gone";

/// How a version is written, so that a script can compare it.
fn version((position, epoch): (Mark, Epoch)) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&(position, epoch))?)
}

/// A flush as a script.
pub(super) fn flush(keys: &PartitionKeys, flush: &Flush) -> anyhow::Result<Call<'static>> {
    let mut names = vec![keys.head(), keys.spaces()];
    let (mut arguments, mut bytes) = (3, 0);
    for (space, changes) in &flush.changes {
        names.extend([keys.values(space), keys.order(space)]);
        arguments += 2 + 2 * changes.len();
        bytes +=
            changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
    }
    let head = serde_json::to_string(&flush.head)?;
    let mut call = FLUSH.on(&names, arguments, bytes + head.len());
    call.arg(flush.from.map(version).transpose()?.unwrap_or_default());
    call.arg(version(flush.head.version())?).arg(head);
    for changes in flush.changes.values() {
        let sets = changes.values().flatten().count();
        call.arg(sets).arg(changes.len() - sets);
        for (key, value) in changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            call.arg(key).arg(value);
        }
        for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
            call.arg(key);
        }
    }
    Ok(call)
}

/// What a flush was answered.
pub(super) fn flushed(answer: &str) -> anyhow::Result<Flushed> {
    match answer {
        "done" => Ok(Flushed::Done),
        "refused" => Ok(Flushed::Refused),
        other => bail!("Redis answers a flush with {other:?}"),
    }
}

/// Reading keys as a script.
pub(super) fn load(keys: &PartitionKeys, wanted: &Wanted) -> Call<'static> {
    let mut names = vec![keys.head()];
    names.extend(wanted.keys().map(|space| keys.values(space)));
    let arguments = wanted.values().map(|keys| 1 + keys.len()).sum();
    let bytes = wanted.values().flatten().map(Vec::len).sum();
    let mut call = LOAD.on(&names, arguments, bytes);
    for keys in wanted.values() {
        call.arg(keys.len());
        for key in keys {
            call.arg(key);
        }
    }
    call
}

/// What reading keys was answered.
pub(super) fn loaded(wanted: Wanted, answer: Value) -> anyhow::Result<Loaded> {
    let mut parts = list(answer)?.into_iter();
    let head = head(parts.next())?;
    let mut loaded = Loaded { head, ..Loaded::default() };
    for ((space, keys), values) in wanted.into_iter().zip(parts) {
        let values = keys.into_iter().zip(list(values)?);
        let found = values.filter_map(|(key, value)| Some((key, optional(value).transpose()?)));
        loaded
            .values
            .insert(space, found.map(|(key, value)| Ok((key, value?))).collect::<anyhow::Result<_>>()?);
    }
    Ok(loaded)
}

/// Reading a range as a script.
pub(super) fn scan(keys: &PartitionKeys, range: &Range) -> Call<'static> {
    let names = [keys.head(), keys.values(&range.space), keys.order(&range.space)];
    let (from, to) = (bound(&range.from, b'-'), bound(&range.to, b'+'));
    let bytes = from.len() + to.len();
    const ARGUMENTS: usize = 5;
    let mut call = SCAN.on(&names, ARGUMENTS, bytes);
    if range.reverse {
        call.arg(to).arg(from).arg("REV");
    } else {
        call.arg(from).arg(to).arg("");
    }
    call.arg(range.limit.entries).arg(range.limit.bytes);
    call
}

/// What reading a range was answered.
pub(super) fn scanned(answer: Value) -> anyhow::Result<Scanned> {
    let mut parts = list(answer)?.into_iter();
    let head = head(parts.next())?;
    let mut entries = Vec::new();
    let mut blobs =
        list(parts.next().context(Damaged("Redis answers a range without entries"))?)?.into_iter();
    while let (Some(key), Some(value)) = (blobs.next(), blobs.next()) {
        let lost = Damaged("a key in order has no value");
        entries.push((
            optional(key)?.context(Damaged("a key in order is nothing"))?,
            optional(value)?.context(lost)?,
        ));
    }
    Ok(Scanned { head, entries, more: matches!(parts.next(), Some(Value::Int(1))) })
}

/// The head, as version and head are answered.
fn head(parts: Option<Value>) -> anyhow::Result<Option<Head>> {
    let mut parts = list(parts.context(Damaged("Redis answers without a head"))?)?.into_iter();
    let (version, head) = (parts.next().map(optional), parts.next().map(optional));
    match (version.transpose()?.flatten(), head.transpose()?.flatten()) {
        (Some(version), _) if version == GONE => Err(catalogue::gone()),
        (_, Some(head)) => Ok(Some(serde_json::from_slice(&head).context(Damaged("a head cannot be read"))?)),
        (Some(_), None) => Err(anyhow::Error::msg(Damaged("a version has no head"))),
        (None, None) => Ok(None),
    }
}

fn list(value: Value) -> anyhow::Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => bail!("Redis answers with {other:?}, where a list is expected"),
    }
}

fn optional(value: Value) -> anyhow::Result<Option<Blob>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        other => bail!("Redis answers with {other:?}, where bytes are expected"),
    }
}

fn bound(bound: &Bound<Blob>, unbounded: u8) -> Blob {
    let marked = |mark: u8, key: &Blob| [&[mark], key.as_slice()].concat();
    match bound {
        Bound::Included(key) => marked(b'[', key),
        Bound::Excluded(key) => marked(b'(', key),
        Bound::Unbounded => vec![unbounded],
    }
}
