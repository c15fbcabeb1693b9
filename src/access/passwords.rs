//! Hashes passwords (argon2id) on threads of its own: few at once, behind a bounded queue, and after everything else.
//!
//! A hash takes a core for about 20 ms and 19 MiB. On the threads of the requests, or as many at once as somebody sends,
//! logins would stop all other work.

use crate::settings::auth::Auth;
use anyhow::{Context, Result, anyhow};
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use refold_domain::users::Password;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What a hash costs, as OWASP recommends: KiB of memory, passes over it, lanes. Each hash carries its own, so that
/// another cost can be taken for new ones.
const COST: (u32, u32, u32) = (19 * 1_024, 2, 1);
/// How far behind other threads these are (nice). Where nothing else has to be done they are as fast as any.
const NICENESS: i32 = 10;
/// What the passwords of users that do not exist are compared with.
const NOBODYS: &[u8] = b"whatever it is, what is compared with it is told to be wrong";

/// The threads, and who may use them next.
#[derive(Debug)]
pub struct Passwords {
    /// Whoever is being served or waits.
    queue: Arc<Semaphore>,
    /// Whoever is being served.
    places: Arc<Semaphore>,
    jobs: SyncSender<Job>,
    nobodys: Arc<str>,
}

/// The right to have one password hashed or compared, now.
#[derive(Debug)]
pub struct Turn<'p> {
    passwords: &'p Passwords,
    permits: [OwnedSemaphorePermit; 2],
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be looked at")]
pub struct Full;

type Job = Box<dyn FnOnce() + Send>;

impl Passwords {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where the system has none to give.
    pub fn start(settings: &Auth) -> Result<Self> {
        let at_once = at_once(settings);
        let (jobs, taken) = sync_channel(at_once);
        let taken = Arc::new(Mutex::new(taken));
        for number in 0..at_once {
            let taken = Arc::clone(&taken);
            let thread = thread::Builder::new().name(format!("passwords-{number}"));
            thread.spawn(move || work(&taken)).context("cannot start a thread for passwords")?;
        }
        Ok(Self {
            queue: Arc::new(Semaphore::new(at_once + settings.hashes_queue_max)),
            places: Arc::new(Semaphore::new(at_once)),
            jobs,
            nobodys: hashed(NOBODYS)?.into(),
        })
    }

    /// Waits for a turn; the queue is short enough that it comes.
    ///
    /// # Errors
    /// [`Full`] at once, where too many wait.
    pub async fn turn(&self) -> Result<Turn<'_>, Full> {
        let waits = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Full)?;
        let works = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Full)?;
        Ok(Turn { passwords: self, permits: [works, waits] })
    }
}

impl Turn<'_> {
    /// The hash of a password, as a PHC text.
    ///
    /// # Errors
    /// Where the machine has no memory or no random numbers.
    pub async fn hash(self, password: Password) -> Result<String> {
        self.run(move || hashed(password.bytes())).await?
    }

    /// Whether a password is the one with this hash. Without a hash it is not, and it takes as long to say so.
    ///
    /// # Errors
    /// Where the hash is none, or the machine has no memory.
    pub async fn verify(self, password: Password, hash: Option<String>) -> Result<bool> {
        let nobodys = Arc::clone(&self.passwords.nobodys);
        let verified = move || {
            let is_same = verified(password.bytes(), hash.as_deref().unwrap_or(&nobodys))?;
            Ok(is_same && hash.is_some())
        };
        self.run(verified).await?
    }

    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Self { passwords, permits } = self;
        let (done, outcome) = oneshot::channel();
        let job = move || {
            let made = work();
            // Only now, whether or not somebody still waits for it; and before it is told, so that there is room again.
            drop(permits);
            drop(done.send(made));
        };
        // There is room for as many as have a place.
        passwords.jobs.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => anyhow!("the threads for passwords are behind"),
            TrySendError::Disconnected(_) => anyhow!("the threads for passwords have ended"),
        })?;
        outcome.await.context("a thread for passwords gave up")
    }
}

/// How many are hashed at once: as many as the settings say, or half as many as there are cores.
fn at_once(settings: &Auth) -> usize {
    match settings.hashes_max {
        0 => thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
        set => set,
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // On Linux this concerns the calling thread alone.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "passwords are hashed with the same priority as everything else");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

fn hashed(password: &[u8]) -> Result<String> {
    Ok(argon2()?.hash_password(password).map_err(failed)?.to_string())
}

fn verified(password: &[u8], hash: &str) -> Result<bool> {
    match argon2()?.verify_password(password, hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| anyhow!("{error}"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: Error) -> anyhow::Error {
    anyhow!("a password cannot be hashed: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn passwords(hashes_max: usize, hashes_queue_max: usize) -> Passwords {
        let settings = crate::settings::Settings::load(&[]).unwrap().auth;
        Passwords::start(&Auth { hashes_max, hashes_queue_max, ..settings }).unwrap()
    }

    fn typed(text: &str) -> Password {
        Password::typed(text).unwrap()
    }

    async fn verify(passwords: &Passwords, text: &str, hash: Option<&str>) -> bool {
        let turn = passwords.turn().await.unwrap();
        turn.verify(typed(text), hash.map(str::to_owned)).await.unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = passwords(2, 0);
        let turn = passwords.turn().await.unwrap();
        let hash = turn.hash(typed("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify(&passwords, "correct horse", Some(&hash)).await);
        assert!(!verify(&passwords, "Correct horse", Some(&hash)).await);
        let other = passwords.turn().await.unwrap().hash(typed("correct horse")).await.unwrap();
        assert_ne!(hash, other, "each has a salt of its own");
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let passwords = passwords(1, 0);
        for text in ["correct horse", std::str::from_utf8(NOBODYS).unwrap()] {
            assert!(!verify(&passwords, text, None).await);
        }
        let turn = passwords.turn().await.unwrap();
        assert!(turn.verify(typed("correct horse"), Some("no hash".into())).await.is_err());
    }

    #[tokio::test]
    async fn only_so_many_are_served_and_wait() {
        let passwords = passwords(1, 1);
        let first = passwords.turn().await.unwrap();
        let mut second = Box::pin(passwords.turn());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(matches!(passwords.turn().await, Err(Full)));
        assert!(first.hash(typed("correct horse")).await.is_ok());
        assert!(second.await.unwrap().hash(typed("correct horse")).await.is_ok());
    }

    #[tokio::test]
    async fn who_gives_up_gives_the_place_back() {
        let passwords = passwords(1, 0);
        drop(passwords.turn().await.unwrap());
        let turn = passwords.turn().await.unwrap();
        assert!(
            turn.hash(typed("correct horse")).now_or_never().is_none(),
            "it is under way, and nobody waits"
        );
        // Until it is done there is no place.
        let place = Arc::clone(&passwords.queue).acquire_owned().await.unwrap();
        drop(place);
        assert!(passwords.turn().await.is_ok());
    }
}
