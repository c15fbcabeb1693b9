//! What only RabbitMQ can show: streams that somebody deletes, retention set behind our back, credentials, TLS, alarms.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails the test it helps")]

#[path = "servers/rabbit.rs"]
mod management;
#[expect(dead_code, reason = "no connection is disturbed here")]
#[path = "servers/mod.rs"]
mod servers;

use futures::StreamExt;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use management::{management, put};
use refold_adapters::options;
use refold_adapters::{Access, Config};
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Risk};
use servers::Server;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

/// How long a server may take until it serves, in seconds.
const START_SECONDS_MAX: u64 = 90;

/// A server, of the release that `REFOLD_TEST_BROKERS` names.
fn server(settings: &str) -> Server {
    let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
    let kind = asked.split(',').find(|kind| kind.starts_with("rabbit")).unwrap_or("rabbit");
    Server::start(kind, 4, settings)
}

fn config(address: SocketAddr) -> Config {
    let mut options = options::of("rabbit");
    options.set("servers", vec![address.to_string()].into());
    Config {
        broker: "rabbit".into(),
        name: "log".into(),
        data_dir: std::env::temp_dir(),
        partitions: 2,
        access: Access::Create,
        options,
    }
}

fn with(config: &Config, key: &str, value: impl Into<toml::Value>) -> Config {
    let mut config = config.clone();
    config.options.set(key, value.into());
    config
}

/// As soon as the server answers.
async fn open(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let mut retries = interval(Duration::from_millis(100));
    let opening = async {
        loop {
            retries.tick().await;
            match refold_adapters::open(config).await {
                Err(error) if matches!(error.downcast_ref(), Some(LogError::Away(_))) => {}
                opened => return opened,
            }
        }
    };
    timeout(Duration::from_secs(START_SECONDS_MAX), opening).await.expect("the server answers")
}

async fn refusal(config: &Config) -> String {
    let error = open(config).await.err().unwrap();
    let is_final = matches!(error.downcast_ref(), Some(LogError::Broken(_) | LogError::Missing(_)));
    assert!(is_final, "{error:#}");
    format!("{error:#}")
}

/// Somebody else's channel.
async fn channel(address: SocketAddr) -> (Connection, lapin::Channel) {
    let connection =
        Connection::connect(&format!("amqp://{address}/%2f"), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn delete(address: SocketAddr, stream: &str) {
    let (_connection, channel) = channel(address).await;
    channel.queue_delete(stream.into(), QueueDeleteOptions::default()).await.unwrap();
}

async fn declare(address: SocketAddr, stream: &str, argument: (&str, AMQPValue)) {
    let (_connection, channel) = channel(address).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert(argument.0.into(), argument.1);
    channel.queue_declare(stream.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
}

fn fatal(risks: &[Risk]) -> Vec<&Risk> {
    risks.iter().filter(|risk| risk.fatal).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_as_they_must_be_are_refused() {
    let server = server("");
    let address = server.address();
    let all = config(address);
    let uses = Config { access: Access::Use, ..all.clone() };
    let missing = refusal(&uses).await;
    assert!(missing.contains("no stream log.p0, log.p1: run `refold topics create`"), "{missing}");

    let log = open(&all).await.unwrap();
    assert_eq!(log.bounds(0).await.unwrap(), Bounds { first: None, end: End::Empty });
    log.append(0, "a".into()).await.unwrap();
    let look = open(&Config { access: Access::Look, ..all.clone() }).await.unwrap();
    let outcome = look.append(0, "b".into()).await;
    assert!(
        matches!(&outcome, Err(AppendError::Refused(why)) if why.contains("only looked at")),
        "{outcome:?}"
    );
    let outcome = log.append(0, vec![0; 3 << 20].into()).await;
    assert!(
        matches!(&outcome, Err(AppendError::TooLarge(why)) if why.contains("3145728 bytes")),
        "{outcome:?}"
    );
    assert_eq!(look.bounds(0).await.unwrap(), Bounds { first: Some(0), end: End::AtLeast(0) });

    let fewer = refusal(&Config { partitions: 1, ..all.clone() }).await;
    assert!(fewer.contains(r#"a stream "log.p1": the log has more than 1 partitions"#), "{fewer}");
    let more = refusal(&Config { partitions: 3, ..all.clone() }).await;
    assert!(more.contains("no stream log.p2") && more.contains("set log.partitions to 2"), "{more}");

    // Somebody deletes a stream while it is read and written.
    let mut records = log.read(0, 0).await.unwrap();
    assert_eq!(records.next().await.unwrap().unwrap().1, "a");
    delete(address, "log.p0").await;
    let end = records.next().await.unwrap();
    assert!(matches!(&end, Err(LogError::Away(why)) if why.contains("cancelled")), "{end:?}");
    assert!(records.next().await.is_none());
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(&outcome, Err(AppendError::Unknown(why)) if why.contains("log.p0")), "{outcome:?}");
    let read = log.read(0, 1).await.err().unwrap();
    assert!(matches!(&read, LogError::Broken(why) if why.contains(r#"no stream "log.p0""#)), "{read:?}");
    let bounds = log.bounds(0).await;
    assert!(matches!(&bounds, Err(LogError::Broken(_))), "{bounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_found_wherever_it_was_set() {
    let server = server("");
    let address = server.address();
    let all = config(address);
    let log = open(&all).await.unwrap();
    let risks = log.check().await.unwrap();
    assert_eq!(fatal(&risks), [] as [&Risk; 0]);
    assert!(risks.iter().any(|risk| risk.remedy.contains("rabbit.management")), "{risks:?}");

    let managed = with(&all, "management", format!("http://{}", management(address)));
    let log = open(&managed).await.unwrap();
    let risks = log.check().await.unwrap();
    assert_eq!(fatal(&risks), [] as [&Risk; 0]);
    assert!(risks.iter().any(|risk| risk.found.contains("2 of 2 streams have one replica")), "{risks:?}");
    put(address, "policies/%2F/trim", r#"{"pattern":"^log","definition":{"max-age":"2h"},"apply-to":"all"}"#)
        .await;
    // Before 4.3 the plugin hears of it some seconds later.
    let mut retries = interval(Duration::from_millis(500));
    let found = loop {
        retries.tick().await;
        let risks = log.check().await.unwrap();
        if let [first, ..] = fatal(&risks)[..] {
            break first.clone();
        }
    };
    assert!(found.found.contains(r#"the stream "log.p0" delete records: max-age = "2h""#), "{found:?}");
    assert!(found.remedy.contains("`rabbitmqctl clear_policy -p / trim`"), "{found:?}");

    let wrong = open(&with(&managed, "management", "http://127.0.0.1:1")).await.unwrap();
    let risks = wrong.check().await.unwrap();
    assert!(risks.iter().any(|risk| risk.found.contains("was not checked: rabbit.management")), "{risks:?}");

    for (name, argument) in [
        ("aged", ("x-max-age", AMQPValue::LongString("1h".into()))),
        ("small", ("x-max-length-bytes", AMQPValue::LongLongInt(1 << 30))),
    ] {
        declare(address, &format!("{name}.p0"), argument.clone()).await;
        let log = open(&Config { name: name.into(), partitions: 1, ..all.clone() }).await.unwrap();
        let risks = log.check().await.unwrap();
        let found = fatal(&risks);
        assert!(found.len() == 1 && found[0].found.contains(argument.0), "{risks:?}");
    }
    declare(address, "other.p0", ("x-initial-cluster-size", AMQPValue::LongLongInt(1))).await;
    let log = open(&Config { name: "other".into(), partitions: 1, ..all }).await.unwrap();
    assert_eq!(fatal(&log.check().await.unwrap()), [] as [&Risk; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_to_do_and_no_password() {
    let server = server("max_message_size = 100000\n");
    let all = config(server.address());
    let log = open(&all).await.unwrap();
    let outcome = log.append(0, vec![0; 100_001].into()).await;
    assert!(
        matches!(&outcome, Err(AppendError::TooLarge(why)) if why.contains("raise max_message_size")),
        "{outcome:?}"
    );
    log.append(0, vec![0; 100_000].into()).await.unwrap();

    let told = refusal(&with(&all, "password", "wrong horse")).await;
    assert!(told.contains("ACCESS_REFUSED") && told.contains("rabbit.password"), "{told}");
    assert!(!told.contains("wrong horse"), "{told}");
    let told = refusal(&with(&all, "virtual_host", "nowhere")).await;
    assert!(told.contains("rabbit.virtual_host is right"), "{told}");

    put(server.address(), "users/reader", r#"{"password":"r","tags":""}"#).await;
    put(server.address(), "permissions/%2F/reader", r#"{"configure":"^$","write":"^$","read":".*"}"#).await;
    let reader = with(&with(&all, "username", "reader"), "password", "r");
    let log = open(&Config { access: Access::Use, ..reader.clone() }).await.unwrap();
    let outcome = log.append(0, "a".into()).await;
    assert!(
        outcome.is_err_and(|error| error.to_string().contains("permissions that config/rabbit.toml names"))
    );
    let risks = log.check().await.unwrap();
    assert!(risks.iter().any(|risk| risk.found.contains("could not be checked")), "{risks:?}");
    let told = refusal(&Config { name: "new".into(), ..reader }).await;
    assert!(told.contains("permissions that config/rabbit.toml names"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_makes_appends_unknown_and_lets_reading_go_on() {
    let server = server("disk_free_limit.absolute = 1000000GB\n");
    let log = open(&config(server.address())).await.unwrap();
    // Some releases look at the disk a moment after their start.
    let alarmed = async { while log.append(0, "a".into()).await.is_ok() {} };
    timeout(Duration::from_secs(START_SECONDS_MAX), alarmed).await.expect("an alarm");
    for _ in 0..2 {
        let start = Instant::now();
        let outcome = log.append(0, "a".into()).await;
        assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    }
    let told = log.append(0, "a".into()).await.unwrap_err().to_string();
    assert!(told.contains("lacks memory or disk"), "{told}");
    log.bounds(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_where_that_is_set() {
    let keys = keys();
    let file = |name: &str| keys.path().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let port = servers::free_ports(1).first;
    let server = server(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\n\
         ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
    ));
    drop(open(&config(server.address())).await.unwrap());
    let named = format!("localhost:{port}");
    let plain = with(&config(server.address()), "servers", vec![named]);
    let encrypted = with(&with(&plain, "tls", true), "ca_file", ca);
    let log = open(&encrypted).await.unwrap();
    log.append(0, "a".into()).await.unwrap();
    assert_eq!(log.read(0, 0).await.unwrap().next().await.unwrap().unwrap().1, "a");

    let told = refusal(&with(&encrypted, "ca_file", "")).await;
    assert!(told.contains("no TLS with RabbitMQ") && told.contains("rabbit.ca_file"), "{told}");
    let told = refusal(&with(&encrypted, "servers", vec![server.address().to_string()])).await;
    assert!(told.contains("no TLS with RabbitMQ"), "{told}");
    let told = refusal(&plain).await;
    assert!(told.contains("rabbit.tls is true"), "{told}");
}

/// An authority, and a server's certificate for "localhost" that it has signed.
fn keys() -> TempDir {
    let keys = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(keys.path());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    write(keys.path(), "names", "subjectAltName=DNS:localhost");
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
    keys
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

/// The second process does not know that the first has only just declared them.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_make_one_log_and_nothing_they_append_is_lost_in_a_kill() {
    let server = server("");
    let all = config(server.address());
    let (one, two) = tokio::join!(open(&all), open(&all));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.append(0, "a".into()).await.unwrap();
    two.append(0, "b".into()).await.unwrap();
    server.kill();
    server.start_again();
    // While it recovers it says that there are none.
    let log = open(&all).await.unwrap();
    let mut records = log.read(0, 0).await.unwrap();
    assert_eq!(records.next().await.unwrap().unwrap().1, "a");
    assert_eq!(records.next().await.unwrap().unwrap().1, "b");
}
