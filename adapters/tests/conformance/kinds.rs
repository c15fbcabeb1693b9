//! The brokers under test, one entry each: how their servers are guarded, found and tampered with.

use crate::management::{management, put};
use crate::servers::Server;
use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions};
use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use refold_adapters::options::Options;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a server of one case's own asks for, as the user [`USER`].
pub(crate) const PASSWORD: &str = "correct-horse";
const USER: &str = "refold";
/// How large records may be where somebody has set a limit, in bytes.
pub(crate) const SMALL_BYTES: usize = 1_000;
/// The age at which records are deleted where somebody has set one.
const AGE: Duration = Duration::from_secs(3_600);

/// A broker, and what it does not promise.
pub(crate) struct Broker {
    pub(crate) name: &'static str,
    /// The server that it needs, if it needs one.
    pub(crate) server: Option<ServerKind>,
    /// Whether `bounds` tells the last offset.
    pub(crate) knows_its_end: bool,
    /// The size of a record that it takes, in bytes, and one that is too large. NATS counts its headers, too.
    pub(crate) sizes: (usize, usize),
}

/// How a broker's server is started and named.
pub(crate) struct ServerKind {
    /// How many ports it takes.
    pub(crate) ports: u16,
    /// Points the broker's settings at a server, which clients find at the first of its two addresses.
    pub(crate) aim: fn(&mut Options, SocketAddr, SocketAddr),
    /// Settings for a server, by these two addresses, that lets in nobody but the user with the password.
    pub(crate) guard: fn(SocketAddr, SocketAddr) -> String,
    /// Makes that user of whoever has these settings.
    pub(crate) enter: fn(&mut Options, &str),
    /// Has a server take no records of more than [`SMALL_BYTES`] bytes into a log from now on.
    pub(crate) shrink: fn(Arc<Server>, String) -> BoxFuture<'static, ()>,
    /// Has a server delete what is old in a log, as somebody may who administers it.
    pub(crate) age: fn(SocketAddr, String) -> BoxFuture<'static, ()>,
}

pub(crate) const BROKERS: &[Broker] = &[
    Broker { name: "embedded", server: None, knows_its_end: true, sizes: (8 << 20, (8 << 20) + 1) },
    Broker {
        name: "kafka",
        server: Some(ServerKind {
            ports: 3,
            aim: |options, front, _| options.set("brokers", vec![front.to_string()].into()),
            guard: guarded_kafka,
            enter: |options, password| {
                for (key, value) in [("username", USER), ("password", password), ("mechanism", "PLAIN")] {
                    options.set(key, value.into());
                }
            },
            shrink: |server, name| shrink_kafka(server, name).boxed(),
            age: |server, name| age_kafka(server, name).boxed(),
        }),
        knows_its_end: true,
        sizes: (1 << 20, (1 << 20) + 1),
    },
    Broker {
        name: "nats",
        server: Some(ServerKind {
            ports: 2,
            aim: |options, front, _| options.set("servers", vec![format!("nats://{front}")].into()),
            guard: |_, _| format!("authorization {{ user: {USER}, password: {PASSWORD} }}\n"),
            enter: |options, password| {
                options.set("user", USER.into());
                options.set("password", password.into());
            },
            shrink: |server, name| shrink_nats(server, name).boxed(),
            age: |server, name| age_nats(server, name).boxed(),
        }),
        knows_its_end: true,
        sizes: ((1 << 20) - 500, 1 << 20),
    },
    Broker {
        name: "rabbit",
        server: Some(ServerKind {
            ports: 4,
            aim: |options, front, server| {
                options.set("servers", vec![front.to_string()].into());
                options.set("management", format!("http://{}", management(server)).into());
            },
            guard: |_, _| format!("default_user = {USER}\ndefault_pass = {PASSWORD}\n"),
            enter: |options, password| {
                options.set("username", USER.into());
                options.set("password", password.into());
            },
            shrink: |server, _| shrink_rabbit(server).boxed(),
            age: |server, name| age_rabbit(server, name).boxed(),
        }),
        knows_its_end: false,
        sizes: (2 << 20, (2 << 20) + 1),
    },
];

fn guarded_kafka(front: SocketAddr, server: SocketAddr) -> String {
    let controller = SocketAddr::new(server.ip(), server.port() + 1);
    let aside = aside(server);
    format!(
        "listeners=SASL_PLAINTEXT://{server},PLAINTEXT://{aside},CONTROLLER://{controller}
advertised.listeners=SASL_PLAINTEXT://{front},PLAINTEXT://{aside}
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{USER}\" password=\"{PASSWORD}\" \
user_{USER}=\"{PASSWORD}\";\n"
    )
}

/// Where a guarded server lets in who administers it, past what stands before it.
fn aside(server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip(), server.port() + 2)
}

async fn age_kafka(server: SocketAddr, name: String) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", server.to_string());
    alter(&client, &name, ("retention.ms", &AGE.as_millis().to_string())).await;
}

async fn shrink_kafka(server: Arc<Server>, name: String) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", aside(server.address()).to_string());
    alter(&client, &name, ("max.message.bytes", &SMALL_BYTES.to_string())).await;
}

async fn alter(client: &ClientConfig, topic: &str, (key, value): (&str, &str)) {
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    admin.alter_configs(&[change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

async fn age_nats(server: SocketAddr, name: String) {
    let client = async_nats::connect(server.to_string()).await.unwrap();
    update(client, format!("{name}-p1"), |config| config.max_age = AGE).await;
}

async fn shrink_nats(server: Arc<Server>, name: String) {
    let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
    let client = options.connect(server.address().to_string()).await.unwrap();
    let bytes = i32::try_from(SMALL_BYTES).unwrap();
    update(client, format!("{name}-p0"), |config| config.max_message_size = bytes).await;
}

async fn update(client: Client, stream: String, change: impl FnOnce(&mut stream::Config)) {
    let admin = jetstream::new(client);
    let mut config = admin.get_stream(stream).await.unwrap().cached_info().config.clone();
    change(&mut config);
    admin.update_stream(config).await.unwrap();
}

/// It reads its limit when it starts.
async fn shrink_rabbit(server: Arc<Server>) {
    server.kill();
    server.configure(&format!("max_message_size = {SMALL_BYTES}\n"));
    server.start_again();
}

async fn age_rabbit(server: SocketAddr, name: String) {
    let age = AGE.as_secs();
    let policy =
        format!(r#"{{"pattern":"^{name}\\.","definition":{{"max-age":"{age}s"}},"apply-to":"all"}}"#);
    put(server, &format!("policies/%2F/{name}"), &policy).await;
}
