//! Which of the commands of one request stands last on the log, in each partition.
//!
//! A receipt of the last one stands for all: whoever waits for it sees them all. Where all were recorded now, or all were
//! repeats, what is known of them says which is the last. Where there are both, and somebody else may have recorded the
//! repeated one at this very moment, the store is asked where the new one stands.

use super::{CommandError, Commands, Recorded};
use refold_domain::log::Offset;
use refold_domain::receipt::Receipt;
use std::collections::BTreeMap;

/// The last commands of each partition.
#[derive(Debug, Default)]
pub struct Latest(BTreeMap<u32, Last>);

#[derive(Debug, Default)]
struct Last {
    new: Option<New>,
    repeated: Option<(Offset, Receipt)>,
}

/// A command that was recorded now.
#[derive(Debug)]
struct New {
    receipt: Receipt,
    /// A stream that it alone has moved.
    stream: Option<String>,
}

impl Latest {
    /// Takes a command into account. `stream` is one that it alone has moved; without one, nothing was repeated.
    pub fn note(&mut self, recorded: &Recorded, stream: Option<&str>) {
        let receipt = recorded.receipt;
        let last = self.0.entry(receipt.partition).or_default();
        match recorded.offset {
            Some(offset) => last.repeated = last.repeated.max(Some((offset, receipt))),
            // A process's writers come one after the other, and so do their ids.
            None if last.new.as_ref().is_none_or(|new| new.receipt < receipt) => {
                last.new = Some(New { receipt, stream: stream.map(str::to_owned) });
            }
            None => {}
        }
    }
}

impl Commands {
    /// The receipts of the last commands, one for each partition.
    ///
    /// # Errors
    /// Where it must be known where a new command stands, and the store does not tell.
    pub async fn receipts(&self, latest: &Latest) -> Result<Vec<Receipt>, CommandError> {
        let mut receipts = Vec::new();
        for (&partition, Last { new, repeated }) in &latest.0 {
            let receipt = match (new, repeated) {
                (Some(New { receipt, stream: Some(stream) }), Some(repeated)) => {
                    let offset = self.offset(partition, stream).await?;
                    (*repeated).max((offset, *receipt)).1
                }
                (Some(New { receipt, .. }), _) | (None, Some((_, receipt))) => *receipt,
                (None, None) => continue,
            };
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    async fn offset(&self, partition: u32, stream: &String) -> Result<Offset, CommandError> {
        let unknown = |why: String| CommandError::OutcomeUnknown(format!("all is recorded, but {why}"));
        let streams = self.streams(partition, [stream]).await.map_err(|error| unknown(error.to_string()))?;
        let entry = streams.get(stream).ok_or_else(|| unknown("the store was put back".into()))?;
        Ok(entry.offset)
    }
}
