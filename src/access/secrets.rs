//! Where the secret is that tokens are signed with: in the settings, or in a file that the first start makes.
//!
//! It is made only where nobody else has to know it: one process, reached from its own machine. Elsewhere an operator who
//! forgot it must be told, and not find tokens refused by the next process.

use crate::settings::auth::is_secret;
use crate::settings::secret::Secret;
use crate::settings::{Broker, Settings};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file of the data directory that has a secret that was made.
pub const FILE: &str = "token.secret";
/// How many random bytes are in one that is made.
const RANDOM_BYTES: usize = 32;
/// Who may do what with the file: its owner may read and write.
const MODE: u32 = 0o600;
/// What others could do with it.
const OTHERS: u32 = 0o077;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the settings.
    Settings,
    /// In this file, once a service has started there.
    File(PathBuf),
}

/// What to do about a settings file with a secret that others may read or write to.
pub const PRIVATE: &str =
    "run `chmod 600` on it, or give the secret as $REFOLD__AUTH__SECRET, and change it: see docs/security.md";

/// What is wrong with such a file.
pub fn told(path: &Path) -> String {
    format!("{} has a secret, and others than its owner may read it or write to it", path.display())
}

/// Where the secret of a service with these settings is.
///
/// # Errors
/// Where there can be none, what to do.
pub fn place(settings: &Settings) -> Result<Place> {
    if !settings.auth.secret.is_empty() {
        return Ok(Place::Settings);
    }
    let Broker::Embedded = settings.log.broker;
    let listen = settings.http.listen;
    ensure!(
        listen.ip().is_loopback(),
        "auth.secret is empty, and others can reach http.listen = {listen}: set $REFOLD__AUTH__SECRET to at least 32 bytes that \
         nobody can guess, such as `openssl rand -base64 48` prints"
    );
    Ok(Place::File(settings.data_dir.join(FILE)))
}

/// The secret that is there.
///
/// # Errors
/// Where there is none yet, or it cannot be used.
pub fn find(settings: &Settings) -> Result<Secret> {
    let Place::File(path) = place(settings)? else {
        return new(settings.auth.secret.clone(), settings);
    };
    let found = read(&path)?.with_context(|| {
        format!("there is no {} yet: start the service once, or set auth.secret", path.display())
    })?;
    new(found, settings)
}

/// The secret that is there; where there is none yet it is made.
///
/// # Errors
/// Where there can be none, or it cannot be used or written.
pub fn open(settings: &Settings) -> Result<Secret> {
    let Place::File(path) = place(settings)? else {
        return new(settings.auth.secret.clone(), settings);
    };
    if let Some(secret) = read(&path)? {
        return new(secret, settings);
    }
    let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>());
    write(&path, &secret).with_context(|| format!("cannot write {}", path.display()))?;
    tracing::info!("made the secret of tokens: {}", path.display());
    Ok(secret.into())
}

/// Holds it to being another than the previous one, also but for blanks at its ends: else somebody believes that it was changed.
fn new(secret: Secret, settings: &Settings) -> Result<Secret> {
    ensure!(
        secret.reveal().trim() != settings.auth.previous_secret.reveal().trim(),
        "auth.previous_secret is the secret that tokens are signed with: to change that, put a new one into auth.secret; if it \
         was changed, take auth.previous_secret away"
    );
    Ok(secret)
}

fn read(path: &Path) -> Result<Option<Secret>> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {shown}"))?,
    };
    let mode = fs::metadata(path).with_context(|| format!("cannot look at {shown}"))?.permissions().mode();
    ensure!(mode & OTHERS == 0, "others may read {shown}, who can make tokens then: run `chmod 600 {shown}`");
    let secret = text.trim();
    if !is_secret(secret) {
        bail!(
            "{shown} has less than {RANDOM_BYTES} bytes, or too few different ones: remove it, and the next start makes another"
        );
    }
    Ok(Some(secret.to_owned().into()))
}

/// Writes it whole or not at all.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn settings(listen: &str) -> (TempDir, Settings) {
        let directory = TempDir::new().unwrap();
        let mut settings = Settings::load(&["config/default.toml".into()]).unwrap();
        settings.data_dir = directory.path().to_owned();
        settings.http.listen = listen.parse().unwrap();
        (directory, settings)
    }

    #[test]
    fn one_is_made_once_for_its_owner_only() {
        for listen in ["127.0.0.1:0", "127.8.8.8:80", "[::1]:0"] {
            let (directory, settings) = settings(listen);
            assert!(find(&settings).unwrap_err().to_string().contains("start the service once"));
            let made = open(&settings).unwrap();
            assert!(made.reveal().len() >= RANDOM_BYTES);
            assert_eq!((open(&settings).unwrap(), find(&settings).unwrap()), (made.clone(), made));
            let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn elsewhere_none_is_made() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.7:80"] {
            let (directory, mut settings) = settings(listen);
            let refused = open(&settings).unwrap_err().to_string();
            assert!(refused.contains(listen) && refused.contains("$REFOLD__AUTH__SECRET"), "{refused}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            settings.auth.secret = "0123456789abcdef".repeat(2).into();
            assert_eq!(open(&settings).unwrap(), settings.auth.secret);
        }
    }

    #[test]
    fn one_that_others_know_or_that_is_cut_off_is_refused() {
        let (directory, settings) = settings("127.0.0.1:0");
        open(&settings).unwrap();
        let file = directory.path().join(FILE);
        for mode in [0o640, 0o604] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert!(open(&settings).unwrap_err().to_string().contains("chmod 600"));
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(MODE)).unwrap();
        for weak in ["short", &"x".repeat(64), &" ".repeat(64), &"ab".repeat(32)] {
            fs::write(&file, weak).unwrap();
            assert!(open(&settings).unwrap_err().to_string().contains("less than 32 bytes"));
        }
    }

    #[test]
    fn the_previous_one_is_another() {
        let (_directory, mut settings) = settings("127.0.0.1:0");
        settings.auth.previous_secret = open(&settings).unwrap();
        for refused in [open(&settings), find(&settings)] {
            assert!(refused.unwrap_err().to_string().contains("take auth.previous_secret away"));
        }
        settings.auth.secret = "0123456789abcdef".repeat(2).into();
        assert!(open(&settings).is_ok() && find(&settings).is_ok());
        settings.auth.previous_secret = format!(" {}\n", settings.auth.secret.reveal()).into();
        for refused in [open(&settings), find(&settings)] {
            assert!(refused.unwrap_err().to_string().contains("put a new one into auth.secret"));
        }
    }
}
