//! Confirms that come late or never.

use crate::servers::proxy::{Proxy, Weather};
use crate::servers::{Server, free_ports};
use crate::{Case, cases, config, open, release};
use futures::StreamExt;
use refold_domain::log::{AppendError, End};
use std::net::SocketAddr;

pub(crate) const CASES: &[Case] =
    cases![the_largest_record_is_taken_and_no_larger_one, a_repeat_of_what_is_under_way_is_stored_once];

async fn the_largest_record_is_taken_and_no_larger_one(server: SocketAddr) {
    const LARGEST: usize = 1 << 20;
    let log = open(&config(server)).await;
    log.append(0, vec![b'x'; LARGEST].into()).await.unwrap();
    let outcome = log.append(0, vec![b'x'; LARGEST + 1].into()).await;
    let Err(AppendError::TooLarge(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("1048577") && reason.contains("1048576"), "{reason}");
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(0));
    let (_, record) = log.read(0, 0).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(record.len(), LARGEST);
}

async fn a_repeat_of_what_is_under_way_is_stored_once(_: SocketAddr) {
    let front = SocketAddr::from(([127, 0, 0, 1], free_ports(1).first));
    let own = Server::start(&release().unwrap(), 2, &format!("advertised.listeners=PLAINTEXT://{front}\n"));
    let proxy = Proxy::start(front, own.address()).await;
    let log = open(&config(front)).await;
    log.append(0, "a".into()).await.unwrap();
    for weather in [Weather::Deaf, Weather::Cut] {
        proxy.set(weather);
        // Others may be given up meanwhile.
        for text in ["b", "c", "b"] {
            let outcome = log.append(0, text.into()).await;
            assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
        }
        proxy.set(Weather::Cut);
        proxy.set(Weather::Fair);
        for text in ["b", "c"] {
            while log.append(0, text.into()).await.is_err() {}
        }
    }
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(4), "each once a time");
}
