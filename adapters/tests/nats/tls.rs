//! TLS: the server's certificate, and ours.

use crate::records::append_all;
use crate::{config, config_at, opened, refusal, server, with};
use std::path::Path;
use std::process::Command;

/// An authority, and what it signed: a server's certificate and a client's.
fn make_certificates(directory: &Path) {
    openssl(
        directory,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
    );
    for (name, subject, extension) in [
        ("server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1"),
        ("client", "/CN=refold", "basicConstraints=CA:FALSE"),
    ] {
        let request =
            format!("req -newkey rsa:2048 -nodes -subj {subject} -keyout {name}.key -out {name}.csr");
        openssl(directory, &request);
        std::fs::write(directory.join("extension"), extension).unwrap();
        let sign = "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extension";
        openssl(directory, &format!("{sign} -in {name}.csr -out {name}.pem"));
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let done = command.args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn tls_is_spoken_with_the_right_server_only() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let settings = |more: &str| {
        format!("tls {{ cert_file: {:?}, key_file: {:?} {more} }}\n", file("server.pem"), file("server.key"))
    };
    let at_server = server(&settings(""));
    let trusting = with(with(config(&at_server), "tls", true), "ca_file", file("ca.pem"));
    append_all(&*opened(&trusting).await, 0, &["a"]).await;
    let by_url = with(config_at(&format!("tls://{}", at_server.address())), "ca_file", file("ca.pem"));
    append_all(&*opened(&by_url).await, 0, &["b"]).await;
    let error = refusal(&config(&at_server)).await;
    assert!(error.contains("certificate") && error.contains("nats.ca_file"), "{error}");

    let asking = server(&settings(&format!(", ca_file: {:?}, verify: true", file("ca.pem"))));
    let trusting = with(with(config(&asking), "tls", true), "ca_file", file("ca.pem"));
    let error = refusal(&trusting).await;
    assert!(error.contains("nats.certificate_file"), "{error}");
    let known = with(trusting, "certificate_file", file("client.pem"));
    append_all(&*opened(&with(known, "key_file", file("client.key"))).await, 0, &["a"]).await;

    let plain = server("");
    let error = refusal(&with(config(&plain), "ca_file", file("ca.pem"))).await;
    assert!(error.contains("nats.ca_file says nothing without TLS: set nats.tls = true"), "{error}");
    let error = refusal(&with(config(&plain), "tls", true)).await;
    assert!(error.contains("nats.tls"), "{error}");
}
