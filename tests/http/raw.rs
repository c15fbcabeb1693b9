//! A client that sends bytes as they are, for requests that no library would send.

use crate::client::Client;
use crate::server::in_time;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::interval;

/// A connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(client: &Client) -> Self {
        Self(TcpStream::connect(client.address().await).await.unwrap())
    }

    /// A connection of a client that can hold next to nothing of an answer that it does not read.
    pub(crate) async fn narrow(client: &Client) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1_024).unwrap();
        Self(socket.connect(client.address().await).await.unwrap())
    }

    /// Sends bytes; a service that has closed the connection already may not want them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.0.write_all(bytes.as_ref()).await);
    }

    /// Says that nothing more will come.
    pub(crate) async fn finish(&mut self) {
        drop(self.0.shutdown().await);
    }

    /// Reads until `text` has come.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(text) {
                let mut chunk = [0; 4096];
                let length = self.0.read(&mut chunk).await.unwrap();
                assert!(length > 0, "closed before {text:?}: {}", String::from_utf8_lossy(&read));
                read.extend_from_slice(&chunk[..length]);
            }
        };
        in_time("answered", reading).await;
        String::from_utf8(read).unwrap()
    }

    /// Sends a space now and then until something is answered, and returns that.
    pub(crate) async fn drip(&mut self, every: Duration) -> String {
        let (mut reader, mut writer) = self.0.split();
        let mut answer = vec![0; 4096];
        let dripping = async {
            let mut ticks = interval(every);
            loop {
                tokio::select! {
                    length = reader.read(&mut answer) => break length.unwrap(),
                    _ = ticks.tick() => drop(writer.write_all(b" ").await),
                }
            }
        };
        let length = in_time("answered", dripping).await;
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    /// Reads a byte now and then, for ever.
    pub(crate) async fn sip(&mut self, every: Duration) -> Infallible {
        let mut ticks = interval(every);
        loop {
            ticks.tick().await;
            // There may be none left.
            drop(self.0.read_u8().await);
        }
    }

    /// Reads until the service closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        // A reset ends the reading as well as a proper end.
        drop(in_time("closed", self.0.read_to_end(&mut read)).await);
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// Sends bytes on a connection of their own, and returns all that is answered; the service closes it.
pub(crate) async fn exchange(client: &Client, bytes: impl AsRef<[u8]>) -> String {
    let mut connection = Raw::connect(client).await;
    connection.send(bytes).await;
    connection.rest().await
}

/// The status of the first answer, `None` where there is none.
pub(crate) fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}
