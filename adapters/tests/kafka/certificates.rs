//! Certificates for a test, made by OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An authority, and what it has signed.
pub(crate) struct Authority {
    directory: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Self { directory };
        openssl(
            authority.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        authority
    }

    /// Where everything is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// A certificate and its key for who is at this address of the loopback or has this name.
    pub(crate) fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        fs::write(self.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
        openssl(
            self.path(),
            &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
        );
        openssl(
            self.path(),
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
            ),
        );
        (self.path().join(format!("{name}.pem")), self.path().join(format!("{name}.key")))
    }
}

fn openssl(directory: &Path, command: &str) {
    let done = Command::new("openssl").args(command.split(' ')).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&done.stderr));
}
