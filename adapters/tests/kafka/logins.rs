//! Logins and TLS, by settings only; what is wrong is told without the secret.

use crate::certificates::Authority;
use crate::servers::{Server, free_ports};
use crate::{Case, cases, config, open, refused, release, with};
use refold_adapters::Config;
use refold_domain::log::End;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use toml::Value;

pub(crate) const CASES: &[Case] = cases![logins_and_tls];

const PASSWORD: &str = "correct-horse";

/// A server that listens in four ways, and where.
struct Guarded {
    authority: Authority,
    _server: Server,
    plain: SocketAddr,
    login: SocketAddr,
    login_over_tls: SocketAddr,
    certificate: SocketAddr,
}

/// One server serves for all of them: it takes seconds to start.
async fn logins_and_tls(_: SocketAddr) {
    let guarded = Guarded::start();
    assert_works(&config(guarded.plain)).await;
    ["SCRAM-SHA-256", "SCRAM-SHA-512"].into_iter().for_each(|mechanism| guarded.add_user(mechanism));
    by_password(&guarded).await;
    over_tls(&guarded).await;
    by_certificate(&guarded).await;
}

async fn by_password(guarded: &Guarded) {
    let as_user = |password: &str, mechanism: &str| {
        let user = [("username", "refold"), ("password", password), ("mechanism", mechanism)];
        with(config(guarded.login), &user.map(|(key, value)| (key, value.into())))
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        assert_works(&as_user(PASSWORD, mechanism)).await;
        let error = refused(&as_user("battery-staple", mechanism)).await;
        assert!(!error.contains("battery-staple") && error.contains("uthentication"), "{error}");
    }
}

async fn over_tls(guarded: &Guarded) {
    let user = [("username", "refold"), ("password", PASSWORD), ("mechanism", "SCRAM-SHA-512")];
    let user = with(config(guarded.login_over_tls), &user.map(|(key, value)| (key, value.into())));
    let trusting = |authority: &Authority| {
        with(user.clone(), &[("tls", true.into()), ("ca_file", text(&authority.file()))])
    };
    assert_works(&trusting(&guarded.authority)).await;
    let error = refused(&trusting(&Authority::new())).await;
    assert!(error.contains("certificate") && !error.contains(PASSWORD), "{error}");
}

async fn by_certificate(guarded: &Guarded) {
    let (certificate, key) = guarded.authority.sign("refold");
    let trusting = with(
        config(guarded.certificate),
        &[("tls", true.into()), ("ca_file", text(&guarded.authority.file()))],
    );
    let shown = [("certificate_file", text(&certificate)), ("key_file", text(&key))];
    assert_works(&with(trusting.clone(), &shown)).await;
    refused(&trusting).await;
}

async fn assert_works(config: &Config) {
    let log = open(config).await;
    log.append(0, "a".into()).await.unwrap();
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(0));
    let mut records = log.read(0, 0).await.unwrap();
    assert_eq!(futures::StreamExt::next(&mut records).await.unwrap().unwrap().1, "a");
    log.check().await.unwrap();
}

fn text(path: &Path) -> Value {
    path.to_str().unwrap().into()
}

impl Guarded {
    /// The users of SCRAM are known to the cluster, not to its settings.
    fn add_user(&self, mechanism: &str) {
        let brokers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../script/brokers");
        let mut command = Command::new(brokers);
        command.args(["exec", &release().unwrap(), "kafka.admin.ConfigCommand", "--bootstrap-server"]);
        command.arg(self.plain.to_string()).args([
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "refold",
        ]);
        let done =
            command.args(["--add-config", &format!("{mechanism}=[password={PASSWORD}]")]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.sign("broker");
        let both = fs::read_to_string(key).unwrap() + &fs::read_to_string(certificate).unwrap();
        fs::write(authority.path().join("broker-both.pem"), both).unwrap();
        let held = free_ports(5);
        let first = held.first;
        let at = |index| SocketAddr::from(([127, 0, 0, 1], first + index));
        let server = Server::start(&release().unwrap(), 2, &settings(&authority, at));
        Self {
            authority,
            _server: server,
            plain: at(0),
            login: at(2),
            login_over_tls: at(3),
            certificate: at(4),
        }
    }
}

/// The controller is at the second address, which is never told to clients.
fn settings(authority: &Authority, at: impl Fn(u16) -> SocketAddr) -> String {
    let directory = authority.path().display();
    let clients =
        format!("PLAINTEXT://{},SASL_PLAINTEXT://{},SASL_SSL://{},SSL://{}", at(0), at(2), at(3), at(4));
    let mut settings = format!(
        "listeners={clients},CONTROLLER://{controller}
advertised.listeners={clients}
controller.quorum.voters=1@{controller}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={directory}/broker-both.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
listener.name.ssl.ssl.client.auth=required
",
        controller = at(1)
    );
    for listener in ["sasl_plaintext", "sasl_ssl"] {
        settings += &format!(
            "listener.name.{listener}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_refold=\"{PASSWORD}\";\n"
        );
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            settings += &format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
            );
        }
    }
    settings
}
