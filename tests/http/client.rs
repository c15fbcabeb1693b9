//! A client of the service, as a patient one is written: it repeats what was not answered, with the same key.

use crate::server::in_time;
use crate::tokens;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a request may take, in seconds.
const REQUEST_SECONDS: u64 = 40;
/// How long to wait before a request is repeated, in milliseconds, unless the service comes back sooner.
const REPEAT_MS: u64 = 20;

/// Somebody who talks to the service, wherever it runs at the moment: an operator, unless told otherwise.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// What is sent along with each request.
    token: Option<String>,
    address: watch::Receiver<Option<SocketAddr>>,
}

/// A request, to be sent once or often.
#[derive(Clone)]
pub(crate) struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// What the service answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: watch::Receiver<Option<SocketAddr>>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(REQUEST_SECONDS));
        let http = http.redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self { http: http.build().unwrap(), token: Some(tokens::admin().to_owned()), address }
    }

    /// The same, for somebody else.
    pub(crate) fn with_token<'t>(&self, token: impl Into<Option<&'t str>>) -> Self {
        Self { token: token.into().map(str::to_owned), ..self.clone() }
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: impl Into<String>, body: &Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    /// Sends lines of NDJSON.
    pub(crate) fn post_lines(&self, path: impl Into<String>, body: impl Into<Vec<u8>>) -> Call {
        self.call(Method::POST, path).bytes(body).header("Content-Type", "application/x-ndjson")
    }

    pub(crate) fn put(&self, path: impl Into<String>, body: &Value) -> Call {
        self.call(Method::PUT, path).json(body)
    }

    pub(crate) fn delete(&self, path: impl Into<String>) -> Call {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn call(&self, method: Method, path: impl Into<String>) -> Call {
        let client = self.clone();
        let call = Call { client, method, path: path.into(), headers: HeaderMap::new(), body: None };
        match &self.token {
            Some(token) => call.header("Authorization", format!("Bearer {token}")),
            None => call,
        }
    }

    /// Where the service listens, once it does.
    pub(crate) async fn address(&self) -> SocketAddr {
        let mut address = self.address.clone();
        let served = in_time("served", address.wait_for(Option::is_some)).await;
        served.unwrap().unwrap()
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        self
    }

    /// What is sent, a value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::Deserializer::from_slice(body).into_iter().map(Result::unwrap).collect()
    }

    /// The same request at another path.
    pub(crate) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("Idempotency-Key", key)
    }

    pub(crate) fn if_match(self, tags: impl AsRef<[u8]>) -> Self {
        self.header("If-Match", tags)
    }

    /// Waits until the commands of these receipts can be seen.
    pub(crate) fn after(self, receipts: impl AsRef<[u8]>) -> Self {
        self.header("Refold-Receipt", receipts).header("Prefer", "wait=30")
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string()).header("Content-Type", "application/json")
    }

    pub(crate) fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it once, which must be answered.
    pub(crate) async fn send(&self) -> Answer {
        let answer = self.attempt().await;
        answer.unwrap_or_else(|error| panic!("{} {} was not answered: {error:?}", self.method, self.path))
    }

    /// Sends it once, whatever comes of it.
    pub(crate) async fn attempt(&self) -> reqwest::Result<Answer> {
        let address = self.client.address().await;
        let response = self.request(address).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// Sends it once and leaves the body to be read, for so long at most.
    pub(crate) async fn open(&self, time: Duration) -> reqwest::Result<reqwest::Response> {
        let address = self.client.address().await;
        self.request(address).timeout(time).send().await
    }

    /// Sends it until it is answered with something else than a 503, across kills and restarts.
    pub(crate) async fn insist(&self) -> Answer {
        in_time("answered", self.repeat()).await
    }

    async fn repeat(&self) -> Answer {
        let mut address = self.client.address.clone();
        loop {
            address.borrow_and_update();
            match self.attempt().await {
                Ok(answer) if answer.status != 503 => return answer,
                _ => drop(timeout(Duration::from_millis(REPEAT_MS), address.changed()).await),
            }
        }
    }

    fn request(&self, address: SocketAddr) -> RequestBuilder {
        let url = format!("http://{address}{}", self.path);
        let request = self.client.http.request(self.method.clone(), url).headers(self.headers.clone());
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}

impl Answer {
    /// The same, which must have this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn receipt(&self) -> String {
        self.header("Refold-Receipt").to_owned()
    }

    /// The sentence of a problem, which must be one of this kind, told as RFC 9457 wants it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("Content-Type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:refold:problem:{slug}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty(), "{problem}");
        if status == 503 {
            assert!(self.header("Retry-After").parse::<u32>().is_ok());
        }
        detail.to_owned()
    }
}
