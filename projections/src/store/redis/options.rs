//! What can be set for Redis: where it is, who we are there, and whether anybody may listen.

use anyhow::{Context, ensure};
use redis::io::tcp::TcpSettings;
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
};
use refold_domain::options;
use serde::Deserialize;
use std::fs;

/// How many servers may be named.
const SERVERS_MAX: usize = 16;

/// The section `redis`; config/redis.toml explains each key. It shows nobody a password, so it has no `Debug`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    servers: Vec<String>,
    pub(super) cluster: bool,
    user: String,
    password: String,
    database: u32,
    tls: bool,
    ca_file: String,
    certificate_file: String,
    key_file: String,
}

impl Options {
    /// Those of the settings, if they can be used.
    ///
    /// # Errors
    /// Names the key whose value cannot be used.
    pub fn of(section: &options::Options) -> anyhow::Result<Self> {
        let read = section.read::<Self>();
        let options =
            read.map_err(|error| anyhow::anyhow!("the section redis: {}", error.message().to_owned()))?;
        let servers = options.servers.len();
        let is_allowed = (1..=SERVERS_MAX).contains(&servers);
        ensure!(is_allowed, "redis.servers names {servers} servers: name 1 to {SERVERS_MAX}");
        ensure!(
            options.cluster || servers == 1,
            "redis.servers names {servers} servers: name one, or set redis.cluster = true if they are of one cluster"
        );
        let has_one_database = !options.cluster || options.database == 0;
        ensure!(has_one_database, "redis.database = {}: a cluster has but 0", options.database);
        ensure!(
            options.user.is_empty() || !options.password.is_empty(),
            "redis.user needs redis.password: set $REFOLD__REDIS__PASSWORD"
        );
        let certificates = [&options.ca_file, &options.certificate_file, &options.key_file];
        ensure!(
            options.tls || certificates.iter().all(|file| file.is_empty()),
            "redis.ca_file, redis.certificate_file or redis.key_file is set, but nothing is encrypted: set redis.tls = true"
        );
        ensure!(
            options.certificate_file.is_empty() == options.key_file.is_empty(),
            "redis.certificate_file needs redis.key_file, and the other way round"
        );
        options.servers.iter().try_for_each(|server| parse(server).map(drop))?;
        Ok(options)
    }

    /// The servers, for people.
    pub fn servers(&self) -> String {
        format!("Redis at {}", self.servers.join(", "))
    }

    /// How to connect to each of the servers.
    ///
    /// # Errors
    /// One of them is no address.
    pub(super) fn connections(&self) -> anyhow::Result<Vec<ConnectionInfo>> {
        let mut redis = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("refold", env!("CARGO_PKG_VERSION"))
            .set_db(self.database.into());
        if !self.user.is_empty() {
            redis = redis.set_username(&self.user);
        }
        if !self.password.is_empty() {
            redis = redis.set_password(&self.password);
        }
        let connection = |server: &String| {
            let (host, port) = parse(server)?;
            let address = if self.tls {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            } else {
                ConnectionAddr::Tcp(host, port)
            };
            let connection = address.into_connection_info()?;
            let tcp = TcpSettings::default().set_nodelay(true);
            Ok(connection.set_tcp_settings(tcp).set_redis_settings(redis.clone()))
        };
        self.servers.iter().map(connection).collect()
    }

    /// The certificates, where connections are encrypted.
    ///
    /// # Errors
    /// Names the key of the file that cannot be read.
    pub(super) fn certificates(&self) -> anyhow::Result<Option<TlsCertificates>> {
        if !self.tls {
            return Ok(None);
        }
        let client_tls = match self.certificate_file.as_str() {
            "" => None,
            certificate => Some(ClientTlsConfig {
                client_cert: bytes("redis.certificate_file", certificate)?,
                client_key: bytes("redis.key_file", &self.key_file)?,
            }),
        };
        let root_cert = match self.ca_file.as_str() {
            "" => None,
            file => Some(bytes("redis.ca_file", file)?),
        };
        Ok(Some(TlsCertificates { client_tls, root_cert }))
    }
}

fn bytes(key: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{key}: cannot read {path}"))
}

/// What is no address may be a URL with a password in it, so it is not shown.
fn parse(address: &str) -> anyhow::Result<(String, u16)> {
    let wrong = "redis.servers has something that is not host:port, such as redis.example.org:6379";
    ensure!(!address.contains(['/', '@']), "{wrong}; user, password and tls have keys of their own");
    let (host, port) = address.rsplit_once(':').context(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ensure!(!host.is_empty(), wrong);
    let port = port.parse().ok().filter(|port| *port > 0).with_context(|| format!("{wrong}: {address:?}"))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::kinds;
    use toml::Value;

    fn with(changes: &[(&str, Value)]) -> anyhow::Result<Options> {
        let mut section = kinds::options("redis");
        changes.iter().for_each(|(key, value)| section.set(key, value.clone()));
        Options::of(&section)
    }

    #[test]
    fn the_defaults_are_possible() {
        let options = with(&[]).unwrap();
        assert_eq!(options.servers(), "Redis at 127.0.0.1:6379");
        assert!(options.connections().unwrap()[0].tcp_settings().nodelay());
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key_and_shows_no_password() {
        let text = |text: &str| Value::from(text);
        let servers = |names: &[&str]| Value::from(names.to_vec());
        let cases = [
            (vec![("servers", servers(&[]))], "redis.servers names 0"),
            (vec![("servers", servers(&["a:1", "b:2"]))], "redis.cluster = true"),
            (vec![("servers", servers(&["redis://me:geheim@a:1"]))], "keys of their own"),
            (vec![("servers", servers(&["a"]))], "not host:port"),
            (vec![("servers", servers(&["a:0"]))], "not host:port"),
            (vec![("cluster", true.into()), ("database", 1.into())], "redis.database = 1"),
            (vec![("user", text("me"))], "redis.password"),
            (vec![("ca_file", text("ca.pem"))], "redis.tls = true"),
            (vec![("tls", true.into()), ("key_file", text("key.pem"))], "redis.certificate_file"),
            (vec![("database", (-1).into())], "redis"),
        ];
        for (changes, expected) in cases {
            let error = with(&changes).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named_by_its_key() {
        let options = with(&[("tls", true.into()), ("ca_file", "/nowhere/ca.pem".into())]).unwrap();
        let error = format!("{:#}", options.certificates().unwrap_err());
        assert!(error.starts_with("redis.ca_file: cannot read /nowhere/ca.pem"), "{error}");
    }
}
