//! What is set for RabbitMQ, checked.

use anyhow::{Context, bail, ensure};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use serde::Deserialize;
use std::fs;
use url::Url;

/// How many servers may be named.
const SERVERS_MAX: usize = 16;

/// How many replicas a stream may have.
const REPLICAS_MAX: u32 = 16;

/// After how long without a sign of life a connection is taken for broken, in seconds; twice as long at most.
const HEARTBEAT_SECONDS: u16 = 10;

/// The section `[rabbit]`. It shows nobody a password, so it has no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    servers: Vec<String>,
    virtual_host: String,
    username: String,
    password: String,
    tls: bool,
    ca_file: String,
    replicas: u32,
    management: String,
}

/// The same, ready to be used.
pub(super) struct Settings {
    pub(super) servers: Vec<Server>,
    pub(super) virtual_host: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) certificates: OwnedTLSConfig,
    pub(super) replicas: u32,
    pub(super) management: Option<Url>,
    tls: bool,
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Options {
    pub(super) fn check(self) -> anyhow::Result<Settings> {
        ensure!(
            (1..=SERVERS_MAX).contains(&self.servers.len()),
            "rabbit.servers names {} servers: name 1 to {SERVERS_MAX}",
            self.servers.len()
        );
        let servers = self.servers.iter().map(|address| Server::parse(address)).collect::<Result<_, _>>()?;
        ensure!(
            (1..=REPLICAS_MAX).contains(&self.replicas),
            "rabbit.replicas = {}: allowed are 1 to {REPLICAS_MAX}",
            self.replicas
        );
        ensure!(!self.username.is_empty(), "rabbit.username is empty: name the user who connects");
        let management = management(&self.management)?;
        let https = management.as_ref().is_some_and(|url| url.scheme() == "https");
        ensure!(
            self.ca_file.is_empty() || self.tls || https,
            "rabbit.ca_file is set, but nothing is encrypted: set rabbit.tls = true"
        );
        Ok(Settings {
            servers,
            virtual_host: self.virtual_host,
            username: self.username,
            password: self.password,
            certificates: certificates(&self.ca_file)?,
            replicas: self.replicas,
            management,
            tls: self.tls,
        })
    }
}

impl Settings {
    /// How to reach a server; it has the password in it.
    pub(super) fn uri(&self, server: &Server) -> AMQPUri {
        let userinfo = AMQPUserInfo { username: self.username.clone(), password: self.password.clone() };
        AMQPUri {
            scheme: if self.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: server.host.clone(), port: server.port },
            vhost: self.virtual_host.clone(),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
        }
    }
}

impl Server {
    /// What is no address may be a URL with a password in it, so it is not shown.
    fn parse(address: &str) -> anyhow::Result<Self> {
        let wrong = "rabbit.servers has something that is not host:port, such as rabbit.example.org:5672";
        ensure!(!address.contains(['/', '@']), "{wrong}; user and password have keys of their own");
        let (host, port) = address.rsplit_once(':').context(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        ensure!(!host.is_empty(), wrong);
        let port =
            port.parse().ok().filter(|port| *port > 0).with_context(|| format!("{wrong}: {address:?}"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

fn management(address: &str) -> anyhow::Result<Option<Url>> {
    if address.is_empty() {
        return Ok(None);
    }
    let wrong = "rabbit.management is not an address such as http://127.0.0.1:15672";
    let url: Url = address.parse().ok().context(wrong)?;
    ensure!(matches!(url.scheme(), "http" | "https") && url.has_host(), wrong);
    if !url.username().is_empty() || url.password().is_some() {
        bail!(
            "rabbit.management has a user or password in it: rabbit.username and rabbit.password are taken there"
        );
    }
    Ok(Some(url))
}

fn certificates(file: &str) -> anyhow::Result<OwnedTLSConfig> {
    if file.is_empty() {
        return Ok(OwnedTLSConfig::default());
    }
    let pem = fs::read_to_string(file).with_context(|| format!("rabbit.ca_file: cannot read {file}"))?;
    ensure!(pem.contains("-----BEGIN CERTIFICATE-----"), "rabbit.ca_file: {file} has no certificate (PEM)");
    Ok(OwnedTLSConfig { identity: None, cert_chain: Some(pem) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn check(key: &str, value: toml::Value) -> anyhow::Result<Settings> {
        let mut options = options::of("rabbit");
        options.set(key, value);
        options.read::<Options>()?.check()
    }

    fn refusal(key: &str, value: impl Into<toml::Value>) -> String {
        format!("{:#}", check(key, value.into()).err().unwrap())
    }

    #[test]
    fn the_settings_file_is_sound() {
        let settings = check("tls", true.into()).unwrap();
        assert_eq!(settings.servers, [Server { host: "127.0.0.1".into(), port: 5672 }]);
        assert_eq!(settings.uri(&settings.servers[0]).scheme, AMQPScheme::AMQPS);
    }

    #[test]
    fn an_address_may_be_of_version_six() {
        assert_eq!(Server::parse("[::1]:5672").unwrap(), Server { host: "::1".into(), port: 5672 });
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_with_it() {
        let servers = |address: &str| vec![toml::Value::from(address)];
        assert!(refusal("servers", Vec::<toml::Value>::new()).contains("rabbit.servers names 0"));
        assert!(refusal("servers", servers("somewhere")).contains("not host:port"));
        assert!(refusal("servers", servers("somewhere:0")).contains("somewhere:0"));
        let url = refusal("servers", servers("amqp://me:hidden@somewhere:5672"));
        assert!(url.contains("keys of their own") && !url.contains("hidden"), "{url}");
        let url = refusal("management", "http://me:hidden@somewhere:15672");
        assert!(url.contains("rabbit.password are taken") && !url.contains("hidden"), "{url}");
        assert!(refusal("management", "somewhere").contains("rabbit.management is not an address"));
        assert!(refusal("replicas", 0).contains("rabbit.replicas = 0"));
        assert!(refusal("ca_file", "ca.pem").contains("rabbit.tls = true"));
    }
}
