//! What is asked of a server of Redis, and a cluster of some of them.

use super::Server;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// How long a cluster may take for anything.
const WAIT: Duration = Duration::from_secs(60);
/// After how many milliseconds of silence the others take a server for failed.
const NODE_TIMEOUT_MS: u32 = 1_500;
/// The slots of the three servers that have any.
const SLOTS: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];

/// What the server answers to a command, or why it does not.
pub(crate) async fn try_ask(server: &Server, command: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(server.address()).await?;
    connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What the server answers to a command, which must be no error.
pub(crate) async fn ask(server: &Server, command: &str) -> String {
    let answer = try_ask(server, command).await.unwrap();
    assert!(!answer.starts_with('-'), "{command}: {answer}");
    answer
}

/// Waits until the server answers with this text.
pub(crate) async fn until(server: &Server, command: &str, text: &str) {
    let told = async {
        let mut ticks = interval(Duration::from_millis(20));
        while !try_ask(server, command).await.is_ok_and(|answer| answer.contains(text)) {
            ticks.tick().await;
        }
    };
    assert!(timeout(WAIT, told).await.is_ok(), "{command} does not say {text}: {}", server.said());
}

/// Three servers that have the slots, and a replica of the first.
#[derive(Debug)]
pub(crate) struct Cluster(Vec<Server>);

impl Cluster {
    pub(crate) async fn start() -> Self {
        let node = |_| {
            let server = Server::prepared("redis", 2);
            let bus = bus(&server);
            server.configure(&format!(
                "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout {NODE_TIMEOUT_MS}\n"
            ));
            server.start_again();
            server
        };
        let cluster = Self((0..=SLOTS.len()).map(node).collect());
        let [first, .., replica] = cluster.0.as_slice() else { unreachable!("there are four") };
        for node in &cluster.0 {
            until(node, "PING", "PONG").await;
        }
        for (node, slots) in cluster.0.iter().zip(SLOTS) {
            ask(node, &format!("CLUSTER ADDSLOTSRANGE {slots}")).await;
        }
        for node in &cluster.0[1..] {
            let address = node.address();
            ask(first, &format!("CLUSTER MEET {} {} {}", address.ip(), address.port(), bus(node))).await;
        }
        for node in &cluster.0 {
            until(node, "CLUSTER INFO", "cluster_state:ok").await;
            until(node, "CLUSTER INFO", "cluster_known_nodes:4").await;
        }
        let id = ask(first, "CLUSTER MYID").await;
        ask(replica, &format!("CLUSTER REPLICATE {}", id.lines().nth(1).unwrap())).await;
        until(replica, "INFO replication", "master_link_status:up").await;
        until(first, "INFO replication", "state=online").await;
        cluster
    }

    /// Where its servers are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(Server::address).collect()
    }

    /// All of its servers.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.0
    }

    /// Kills the first server; its replica takes over.
    pub(crate) async fn fail_over(&self) {
        let [first, .., replica] = self.0.as_slice() else { unreachable!("there are four") };
        first.kill();
        until(replica, "INFO replication", "role:master").await;
        until(replica, "CLUSTER INFO", "cluster_state:ok").await;
    }

    /// Starts the first one again, as a replica of who took over.
    pub(crate) async fn join_again(&self) {
        let first = &self.0[0];
        first.start_again();
        until(first, "INFO replication", "master_link_status:up").await;
    }
}

/// The port on which the servers of a cluster talk to each other.
fn bus(server: &Server) -> u16 {
    server.address().port() + 1
}
