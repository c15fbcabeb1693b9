//! A running service, as the commands that talk to one see it: where it is, who asks, and what it says is wrong.

use crate::plain::plain;
use anyhow::{Context, Result, ensure};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long to wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Where a service is that is told nothing.
const USUAL: &str = "http://127.0.0.1:8080";
/// The variable with the token, where none is typed.
const TOKEN_VARIABLE: &str = "REFOLD_TOKEN";
/// What to do where the service does not take the token, or wants one.
const TOKEN_REMEDY: &str = "give one as $REFOLD_TOKEN: `refold token` prints one where it can read the service's secret, good for --minutes";

/// Where a service is, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Remote {
    /// Where the service is: http://127.0.0.1:8080 unless said
    #[arg(long)]
    pub url: Option<Url>,
    /// Send this as a bearer token; better given in the variable, for others may see what is typed
    #[arg(long, env = TOKEN_VARIABLE, hide_env_values = true)]
    pub token: Option<String>,
}

impl Remote {
    /// What stands at this path of the service.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.url();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    /// Where the service is.
    pub(super) fn url(&self) -> Url {
        self.url.clone().unwrap_or_else(|| USUAL.parse().expect("the usual place is a URL"))
    }

    /// A client that waits a bounded time for a connection, and says who asks.
    ///
    /// # Errors
    /// Where the token is none that a header can carry.
    pub(super) fn client(&self) -> Result<ClientBuilder> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            let mut bearer = bearer.context("--token has characters that no header can carry")?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let client = Client::builder().connect_timeout(CONNECT_WAIT).default_headers(headers);
        // Whoever it is sent on to would be told the password of whom it registers.
        Ok(client.redirect(Policy::none()))
    }

    /// What to say where it does not answer.
    pub(super) fn unreachable(&self) -> String {
        format!("cannot reach {}", self.url())
    }
}

/// Where the service of these settings is reached from its own machine.
///
/// # Errors
/// Where they do not say.
pub(super) fn own(listen: SocketAddr) -> Result<Url> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    ensure!(listen.port() != 0, "the service took any free port (http.listen): say where it is with --url");
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())).parse()?)
}

/// What a service says is wrong.
pub(super) async fn told(response: Response) -> String {
    let elsewhere =
        response.headers().get(LOCATION).map(|url| plain(&String::from_utf8_lossy(url.as_bytes())));
    let (status, body) = (response.status(), response.text().await.unwrap_or_default());
    let problem: Value = serde_json::from_str(&body).unwrap_or_default();
    let told = match (problem["title"].as_str(), problem["detail"].as_str()) {
        (Some(title), Some(detail)) => {
            format!("the service answers {status}: {}: {}", plain(title), plain(detail))
        }
        _ => format!("the service answers {status}"),
    };
    match status {
        _ if status.is_redirection() => {
            let elsewhere = elsewhere.unwrap_or_else(|| "an unknown place".into());
            format!(
                "{told}, which sends to {elsewhere}: that is not followed; if it is the service, name it with --url"
            )
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("{told}; {TOKEN_REMEDY}"),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_stand_below_a_path() {
        for (url, stands) in [
            ("http://h", "http://h/foods"),
            ("http://h/", "http://h/foods"),
            ("http://h/refold/", "http://h/refold/foods"),
        ] {
            let remote = Remote { url: Some(url.parse().unwrap()), token: None };
            assert_eq!(remote.at("/foods").as_str(), stands);
        }
    }

    #[test]
    fn a_token_must_fit_into_a_header() {
        let remote =
            |token: &str| Remote { url: Some("http://h".parse().unwrap()), token: Some(token.into()) };
        assert!(remote("abc.def").client().is_ok());
        assert!(remote("a\nb").client().unwrap_err().to_string().contains("--token"));
    }

    #[test]
    fn the_own_service_is_where_the_settings_say() {
        let reached = |listen: &str| own(listen.parse().unwrap()).map(|url| url.to_string()).ok();
        for (listen, url) in [
            ("127.0.0.1:9000", "http://127.0.0.1:9000/"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000/"),
            ("[::]:9000", "http://[::1]:9000/"),
            ("192.0.2.7:9000", "http://192.0.2.7:9000/"),
        ] {
            assert_eq!(reached(listen).as_deref(), Some(url));
        }
        assert_eq!(reached("127.0.0.1:0"), None);
    }
}
