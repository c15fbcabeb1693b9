//! The messages of a stream (SSE), read from pieces that may end anywhere.

/// Reads messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The line that has not ended yet.
    line: Vec<u8>,
    next: Message,
}

/// What stands between two empty lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// From where to go on.
    pub(super) id: Option<String>,
    /// What it is, unless it is the usual.
    pub(super) event: Option<String>,
    /// What it says.
    pub(super) data: Option<String>,
}

impl Messages {
    /// The messages that end in this piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            match line.strip_suffix('\r').unwrap_or(&line) {
                "" => messages.push(std::mem::take(&mut self.next)),
                line => self.next.add(line),
            }
        }
        messages.retain(|message| *message != Message::default());
        messages
    }
}

impl Message {
    fn add(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "id" => self.id = Some(value),
            "event" => self.event = Some(value),
            "data" => {
                self.data = Some(self.data.take().map_or_else(|| value.clone(), |data| data + "\n" + &value));
            }
            // A comment, when to come back, or what a later service says.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        "retry: 1000\nid: a\n\n: alive\n\nid: b\nevent: e\ndata: 寿\ndata:司\n\ndata: x\r\n\r\nid: c\n"
            .as_bytes();

    #[test]
    fn messages_are_the_same_wherever_the_pieces_end() {
        let message = |id: Option<&str>, event: Option<&str>, data: Option<&str>| Message {
            id: id.map(Into::into),
            event: event.map(Into::into),
            data: data.map(Into::into),
        };
        let expected = [
            message(Some("a"), None, None),
            message(Some("b"), Some("e"), Some("寿\n司")),
            message(None, None, Some("x")),
        ];
        for size in 1..=TEXT.len() {
            let mut messages = Messages::default();
            let found: Vec<_> = TEXT.chunks(size).flat_map(|piece| messages.take(piece)).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
