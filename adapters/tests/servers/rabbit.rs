//! The management plugin of a RabbitMQ server, for what somebody else sets there.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Its address.
pub(crate) fn management(server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip(), server.port() + 1)
}

/// Sets something, as the user that a new server has.
pub(crate) async fn put(server: SocketAddr, path: &str, json: &str) {
    let mut connection = TcpStream::connect(management(server)).await.unwrap();
    let length = json.len();
    let request = format!(
        "PUT /api/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}
