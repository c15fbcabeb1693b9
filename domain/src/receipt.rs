//! Names for places in the log: the receipt of a command, the id of an event, the position of a reader.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// `partition.writer.seq.command`: what a command is answered with. It needs no broker's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// The partition of the commit.
    pub partition: u32,
    /// The writer's id.
    pub writer: Uuid,
    /// The writer's number for the commit, from 1.
    pub seq: u64,
    /// The command's place within the commit, from 0.
    pub command: u32,
}

/// `partition.writer.seq.command.index`: an event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The command that the event belongs to.
    pub receipt: Receipt,
    /// The event's place within the command, from 0.
    pub index: u32,
}

/// `logtail:offset,offset,...`: how far a reader has come in each partition.
///
/// The first part is the last 8 digits of the log's id. (Its first 8 are a clock, alike for all logs made in
/// the same minute.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The last 8 hexadecimal digits of the log's id.
    pub log: String,
    /// The offset of the last record passed, per partition; `None`, written `-`, before the first.
    pub offsets: Vec<Option<u64>>,
}

/// The digits of a log's id that stand in a [`Position`].
pub fn log_digits(log: Uuid) -> String {
    let id = log.simple().to_string();
    id[24..].to_owned()
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.partition, self.writer, self.seq, self.command)
    }
}

impl FromStr for Receipt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a receipt: it must look like partition.writer.seq.command");
        let parts: Vec<&str> = text.split('.').collect();
        let [partition, writer, seq, command] = parts[..] else {
            return Err(wrong());
        };
        let receipt = Self {
            partition: number(partition).ok_or_else(wrong)?,
            writer: Uuid::try_parse(writer).map_err(|_| wrong())?,
            seq: number(seq).ok_or_else(wrong)?,
            command: number(command).ok_or_else(wrong)?,
        };
        Ok(receipt)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.receipt, self.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.log)?;
        for (partition, offset) in self.offsets.iter().enumerate() {
            if partition > 0 {
                f.write_str(",")?;
            }
            match offset {
                Some(offset) => write!(f, "{offset}")?,
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a position: it must look like 1a2b3c4d:12,-,7");
        let (log, offsets) = text.split_once(':').ok_or_else(wrong)?;
        if log.len() != 8 || !log.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let offset = |text: &str| match text {
            "-" => Some(None),
            digits => number(digits).map(Some),
        };
        let offsets = offsets.split(',').map(offset).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(Self { log: log.to_ascii_lowercase(), offsets })
    }
}

/// A number in digits only: `parse` alone would take a sign too.
pub(crate) fn number<T: FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_receipts_say_so() {
        let id = Uuid::from_u128(7);
        for bad in [
            String::new(),
            "1".into(),
            format!("1.{id}.2"),
            format!("1.{id}.2.3.4"),
            format!("-1.{id}.2.3"),
            format!("+1.{id}.2.3"),
            format!("1.{id}.99999999999999999999.3"),
            "1.not-a-uuid.2.3".into(),
        ] {
            let error = bad.parse::<Receipt>().unwrap_err();
            assert!(error.contains("is not a receipt"), "{bad}: {error}");
        }
    }

    #[test]
    fn malformed_positions_say_so() {
        for bad in [
            "",
            "1a2b3c4d",
            "1a2b3c4:1",
            "1a2b3c4d:",
            "1a2b3c4d:1,",
            "1a2b3c4d:x",
            "1a2b3c4d:-1",
            "zzzzzzzz:1",
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_digits_are_the_random_end_of_the_id() {
        let log = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_1a2b_3c4d);
        assert_eq!(log_digits(log), "1a2b3c4d");
    }

    proptest! {
        #[test]
        fn receipts_read_what_they_write(partition: u32, writer: u128, seq: u64, command: u32) {
            let receipt = Receipt { partition, writer: Uuid::from_u128(writer), seq, command };
            prop_assert_eq!(receipt.to_string().parse::<Receipt>().unwrap(), receipt);
        }

        #[test]
        fn positions_read_what_they_write(offsets in prop::collection::vec(any::<Option<u64>>(), 1..20)) {
            let position = Position { log: "1a2b3c4d".into(), offsets };
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }

        #[test]
        fn no_text_makes_them_panic(text: String) {
            let _ = text.parse::<Receipt>();
            let _ = text.parse::<Position>();
        }
    }
}
