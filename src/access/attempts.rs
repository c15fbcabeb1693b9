//! How often somebody may try to log in: as one user, and from one address.
//!
//! Each has so many tries at once, and gets one back at a time. A process counts for itself: several allow as many times
//! more.

use crate::settings::auth::Auth;
use quick_cache::sync::Cache;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many users and how many addresses are remembered; who has not tried for long is forgotten first.
const REMEMBERED_MAX: usize = 50_000;
/// The bits of an IPv6 address that say whose it is; the rest is up to whoever has it.
const NETWORK: u128 = !0 << 64;

/// Who has tried how often.
#[derive(Debug)]
pub struct Attempts {
    users: Limit,
    addresses: Limit,
}

/// So many tries in a time, for each key.
#[derive(Debug)]
struct Limit {
    /// After how much time one try comes back; none where nothing is limited.
    each: Option<Duration>,
    window: Duration,
    /// When all of a key's tries will have come back.
    whole: Cache<String, Arc<Mutex<Instant>>>,
}

/// Too many tries: how long to wait for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl Attempts {
    /// As many as the settings allow.
    pub fn new(settings: &Auth) -> Self {
        Self {
            users: Limit::new(settings.failed_logins_max, settings.failed_logins_window),
            addresses: Limit::new(settings.logins_max, settings.logins_window),
        }
    }

    /// A try from this address.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn from(&self, address: IpAddr) -> Result<(), TooMany> {
        self.addresses.take(&network(address).to_string())
    }

    /// A try for the user of this normalised name, whether or not there is one. It counts as a failed one until
    /// [`Self::succeeded`]: so of many at once no more go wrong than are allowed.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn of(&self, name: &str) -> Result<(), TooMany> {
        self.users.take(name)
    }

    /// Whether the user of this normalised name has a try left; nothing is counted.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn left(&self, name: &str) -> Result<(), TooMany> {
        self.users.left(name)
    }

    /// The try for this user went well, or was not made.
    pub fn succeeded(&self, name: &str) {
        self.users.give_back(name);
    }
}

impl Limit {
    fn new(max: u32, window: Duration) -> Self {
        Self { each: window.checked_div(max), window, whole: Cache::new(REMEMBERED_MAX) }
    }

    fn take(&self, key: &str) -> Result<(), TooMany> {
        let Some(each) = self.each else { return Ok(()) };
        let now = Instant::now();
        let place = self.whole.get_or_insert_with(key, || Ok::<_, ()>(Arc::new(Mutex::new(now))));
        let Ok(place) = place else { return Ok(()) };
        let mut whole = place.lock().unwrap_or_else(PoisonError::into_inner);
        *whole = self.after(*whole, each)?;
        Ok(())
    }

    fn left(&self, key: &str) -> Result<(), TooMany> {
        let (Some(each), Some(place)) = (self.each, self.whole.get(key)) else { return Ok(()) };
        let whole = place.lock().unwrap_or_else(PoisonError::into_inner);
        self.after(*whole, each).map(|_| ())
    }

    /// When all tries will have come back after one more.
    fn after(&self, whole: Instant, each: Duration) -> Result<Instant, TooMany> {
        let now = Instant::now();
        let next = whole.max(now) + each;
        let late = next.duration_since(now).saturating_sub(self.window);
        if late > Duration::ZERO { Err(TooMany(late)) } else { Ok(next) }
    }

    fn give_back(&self, key: &str) {
        if let (Some(each), Some(place)) = (self.each, self.whole.get(key)) {
            let mut whole = place.lock().unwrap_or_else(PoisonError::into_inner);
            *whole = whole.checked_sub(each).unwrap_or(*whole);
        }
    }
}

impl TooMany {
    /// The seconds to wait, a begun one being one.
    pub fn seconds(self) -> u32 {
        let whole = u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX);
        whole.saturating_add(u32::from(self.0.subsec_nanos() > 0)).max(1)
    }
}

/// Those who share an address, or have more than one can count.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(max: u32) -> Limit {
        Limit::new(max, SECOND * 60)
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_one_at_a_time() {
        let limit = limit(3);
        assert_eq!([(); 4].map(|()| limit.take("ada")), [Ok(()), Ok(()), Ok(()), Err(TooMany(SECOND * 20))]);
        assert_eq!(limit.take("bob"), Ok(()), "others have their own");
        tokio::time::advance(SECOND * 19).await;
        assert_eq!(limit.take("ada"), Err(TooMany(SECOND)));
        tokio::time::advance(SECOND).await;
        assert_eq!((limit.take("ada"), limit.take("ada")), (Ok(()), Err(TooMany(SECOND * 20))));
        tokio::time::advance(SECOND * 1_000).await;
        assert_eq!([(); 4].map(|()| limit.take("ada").is_ok()), [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_well_is_given_back() {
        let limit = limit(2);
        for _ in 0..10 {
            assert_eq!((limit.left("ada"), limit.take("ada")), (Ok(()), Ok(())));
            limit.give_back("ada");
        }
        assert_eq!([(); 3].map(|()| limit.take("ada").is_ok()), [true, true, false]);
        assert!(limit.left("ada").is_err(), "and asking counts nothing");
        limit.give_back("nobody");
    }

    #[test]
    fn none_is_no_limit() {
        let limit = limit(0);
        assert!((0..1_000).all(|_| limit.take("ada").is_ok()));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let limit = limit(1);
        (0..REMEMBERED_MAX * 2).for_each(|number| assert!(limit.take(&number.to_string()).is_ok()));
        assert!(limit.whole.len() <= REMEMBERED_MAX + REMEMBERED_MAX / 2, "{}", limit.whole.len());
    }

    #[test]
    fn an_address_stands_for_those_behind_it() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn seconds_are_whole() {
        let seconds = |milliseconds| TooMany(Duration::from_millis(milliseconds)).seconds();
        assert_eq!([0, 1, 1_000, 1_001].map(seconds), [1, 1, 1, 2]);
    }
}
