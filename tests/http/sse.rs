//! A client of a stream, which reads message after message and may go away at any time.

use crate::client::Call;
use crate::server::in_time;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// For how long a stream is read at most, in seconds.
const STREAM_SECONDS: u64 = 600;

/// An open stream.
pub(crate) struct Stream {
    response: reqwest::Response,
    read: Vec<u8>,
}

/// A message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
}

impl Stream {
    /// Opens one, which must be answered.
    pub(crate) async fn open(call: &Call) -> Self {
        Self::attempt(call).await.unwrap()
    }

    /// Opens one, whatever comes of it.
    pub(crate) async fn attempt(call: &Call) -> reqwest::Result<Self> {
        let response = call.open(Duration::from_secs(STREAM_SECONDS)).await?.error_for_status()?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Self { response, read: Vec::new() })
    }

    /// What it was answered with.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next message that is more than a comment, `None` where the stream ended or broke.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                let message = Message::read(std::str::from_utf8(&block).unwrap());
                if message != Message::default() {
                    return Some(message);
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.read.extend_from_slice(&chunk);
        }
    }

    /// The next message with data, which must come.
    pub(crate) async fn data(&mut self) -> Message {
        let next = async {
            loop {
                let message = self.next().await.expect("the stream goes on");
                if message.data.is_some() {
                    return message;
                }
            }
        };
        in_time("told", Box::pin(next)).await
    }
}

impl Message {
    fn read(block: &str) -> Self {
        let mut message = Self::default();
        for (field, value) in block.lines().filter_map(|line| line.split_once(": ")) {
            match field {
                "id" => message.id = Some(value.into()),
                "event" => message.event = Some(value.into()),
                "data" => message.data = Some(value.into()),
                _ => {}
            }
        }
        message
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }
}
