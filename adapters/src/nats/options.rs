//! What can be set for NATS: where it is, who we are there, and how much a confirm must mean.

use crate::Config;
use async_nats::{ConnectOptions, ServerAddr};
use refold_domain::log::LogError;
use serde::Deserialize;
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// How many servers may keep a stream: JetStream takes no more.
const REPLICAS: RangeInclusive<usize> = 1..=5;

/// The section `nats`; config/nats.toml explains each key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    servers: Vec<String>,
    user: String,
    password: String,
    token: String,
    credentials_file: String,
    nkey_file: String,
    tls: bool,
    tls_first: bool,
    ca_file: String,
    certificate_file: String,
    key_file: String,
    pub(super) replicas: usize,
    pub(super) sync_always: bool,
}

impl Options {
    /// Those of a config, if they can be used.
    ///
    /// # Errors
    /// Names the key whose value cannot be used.
    pub(super) fn of(config: &Config) -> Result<Self, LogError> {
        let read = config.options.read::<Self>();
        let options =
            read.map_err(|error| LogError::Broken(format!("the section nats: {}", error.message())))?;
        options.addresses()?;
        options.ensure_one_identity()?;
        if !REPLICAS.contains(&options.replicas) {
            let (least, most) = REPLICAS.into_inner();
            return Err(wrong("nats.replicas", &format!("must be {least} to {most}")));
        }
        if options.certificate_file.is_empty() != options.key_file.is_empty() {
            return Err(wrong("nats.certificate_file", "needs nats.key_file, and the other way round"));
        }
        options.ensure_tls_where_meant()?;
        Ok(options)
    }

    /// A server without TLS would be talked to as it is, and nobody would look at these files.
    fn ensure_tls_where_meant(&self) -> Result<(), LogError> {
        let is_asked_for =
            self.tls || self.tls_first || self.addresses()?.iter().any(ServerAddr::tls_required);
        let files = [("nats.ca_file", &self.ca_file), ("nats.certificate_file", &self.certificate_file)];
        match files.into_iter().find(|(_, file)| !is_asked_for && !file.is_empty()) {
            Some((key, _)) => Err(wrong(key, "says nothing without TLS: set nats.tls = true")),
            None => Ok(()),
        }
    }

    fn ensure_one_identity(&self) -> Result<(), LogError> {
        let given = |value: &String| !value.is_empty();
        let kinds = [&self.user, &self.token, &self.credentials_file, &self.nkey_file];
        if kinds.into_iter().filter(|value| given(value)).count() > 1 {
            let remedy = "set one of nats.user, nats.token, nats.credentials_file and nats.nkey_file only";
            return Err(LogError::Broken(remedy.into()));
        }
        if given(&self.user) != given(&self.password) {
            return Err(wrong("nats.user", "needs nats.password, and the other way round"));
        }
        Ok(())
    }

    /// Where the servers are.
    ///
    /// # Errors
    /// One of them is no address; it is not shown, for there may be a password in it.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, LogError> {
        if self.servers.is_empty() {
            return Err(wrong(
                "nats.servers",
                "names no server: set it to [\"nats://127.0.0.1:4222\"] or the like",
            ));
        }
        self.servers.iter().map(|server| address(server)).collect()
    }

    /// The servers, for people.
    pub(super) fn servers(&self) -> String {
        let hosts = |address: ServerAddr| format!("{}:{}", address.host(), address.port());
        let addresses = self.addresses().unwrap_or_default();
        format!("NATS at {}", addresses.into_iter().map(hosts).collect::<Vec<_>>().join(", "))
    }

    /// How to connect.
    ///
    /// # Errors
    /// Names the key of the file that cannot be read or used.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions, LogError> {
        let mut options = ConnectOptions::new().require_tls(self.tls);
        if self.tls_first {
            options = options.tls_first();
        }
        if !self.user.is_empty() {
            options = options.user_and_password(self.user.clone(), self.password.clone());
        }
        if !self.token.is_empty() {
            options = options.token(self.token.clone());
        }
        if !self.credentials_file.is_empty() {
            let key = "nats.credentials_file";
            let used = options.credentials(&text("nats.credentials_file", &self.credentials_file)?);
            options = used.map_err(|error| wrong(key, &error.to_string()))?;
        }
        if !self.nkey_file.is_empty() {
            options = options.nkey(text("nats.nkey_file", &self.nkey_file)?.trim().to_owned());
        }
        if !self.ca_file.is_empty() {
            text("nats.ca_file", &self.ca_file)?;
            options = options.add_root_certificates(PathBuf::from(&self.ca_file));
        }
        if !self.certificate_file.is_empty() {
            text("nats.certificate_file", &self.certificate_file)?;
            text("nats.key_file", &self.key_file)?;
            options = options
                .add_client_certificate(PathBuf::from(&self.certificate_file), PathBuf::from(&self.key_file));
        }
        Ok(options)
    }
}

fn address(server: &str) -> Result<ServerAddr, LogError> {
    let wrong = |what: &str| wrong("nats.servers", what);
    let form = "has an entry that is not of the form nats://host:4222 or tls://host:4222 (a variable has several with commas \
                between them, without brackets)";
    let address: ServerAddr = server.parse().map_err(|_| wrong(form))?;
    if address.username().is_some() || address.password().is_some() {
        return Err(wrong("has an entry with a user in it: set nats.user and nats.password instead"));
    }
    if address.host().is_empty() || address.is_websocket() {
        return Err(wrong(form));
    }
    Ok(address)
}

fn text(key: &str, path: &str) -> Result<String, LogError> {
    fs::read_to_string(path).map_err(|error| wrong(key, &format!("cannot read {path}: {error}")))
}

fn wrong(key: &str, what: &str) -> LogError {
    LogError::Broken(format!("{key} {what}"))
}
