//! TLS to a real Redis: its certificate, and ours.

use crate::certificates::Authority;
use crate::redis::open;
use crate::servers::Server;
use refold_projections::store::redis::options::Options;
use refold_projections::store::{Away, RedisStore, Store, kinds};
use std::net::SocketAddr;
use std::path::Path;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn options(server: SocketAddr, more: &[(&str, String)]) -> Options {
    let mut section = kinds::options("redis");
    section.set("servers", vec![server.to_string()].into());
    section.set("tls", true.into());
    more.iter().for_each(|(key, value)| section.set(key, value.as_str().into()));
    Options::of(&section).unwrap()
}

/// A server that speaks nothing but TLS.
fn server(authority: &Authority, asks_clients: &str) -> Server {
    let (certificate, key) = authority.sign("server");
    let server = Server::prepared("redis", 1);
    let port = server.address().port();
    server.configure(&format!(
        "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients {asks_clients}\n",
        certificate.display(),
        key.display(),
        authority.file().display()
    ));
    server.start_again();
    server
}

async fn refused(options: &Options) -> String {
    let refused = RedisStore::open(options, "tls", 3).await.unwrap_err();
    assert!(!refused.is::<Away>(), "{refused:#}");
    format!("{refused:#}")
}

#[tokio::test]
async fn tls_is_spoken_with_the_right_server_and_as_who_we_are() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca_file = ("ca_file", text(&authority.file()));
    let one = server(&authority, "no");
    let store = open(&options(one.address(), std::slice::from_ref(&ca_file)), "tls").await;
    store.reset(b"text".to_vec()).await.unwrap();
    assert_eq!(store.catalogue().await.unwrap().unwrap(), b"text");
    for wrong in [vec![], vec![("ca_file", text(&stranger.file()))]] {
        let said = refused(&options(one.address(), &wrong)).await;
        assert!(said.contains("redis.ca_file"), "{said}");
    }

    let asking = server(&authority, "yes");
    let (certificate, key) = authority.sign("refold");
    let ours = [ca_file.clone(), ("certificate_file", text(&certificate)), ("key_file", text(&key))];
    open(&options(asking.address(), &ours), "tls").await.reset(b"text".to_vec()).await.unwrap();
    let said = refused(&options(asking.address(), &[ca_file])).await;
    assert!(said.contains("redis.certificate_file"), "{said}");
}
