//! What only RabbitMQ's management plugin tells, over HTTP.

use super::options::Settings;
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use lapin::runtime;
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use url::Url;

/// How long one answer may take, in milliseconds.
const ANSWER_WAIT_MS: u64 = 5_000;

/// How long it may take until it knows a stream that was just made, in milliseconds.
const KNOWN_WAIT_MS: u64 = 8_000;

/// How long it is left alone in between, in milliseconds.
const KNOWN_PAUSE_MS: u64 = 500;

/// How many bytes one answer may have.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What it says of a stream, some seconds ago before 4.3.
#[derive(Deserialize)]
pub(super) struct Stream {
    pub(super) policy: Option<String>,
    pub(super) operator_policy: Option<String>,
    /// What both policies come to. Missing as long as nothing is known of the stream.
    #[serde(rename = "effective_policy_definition")]
    pub(super) policies: Option<Map<String, Value>>,
    /// The nodes that have a replica.
    #[serde(default)]
    pub(super) members: Vec<String>,
}

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
}

/// The version of the server.
pub(super) async fn version(settings: &Settings, base: &Url) -> anyhow::Result<String> {
    Ok(get::<Overview>(settings, base, "api/overview").await?.rabbitmq_version)
}

/// The two ways to ask about a stream: since 4.3 the first tells what is so now, before that the second tells what was so
/// when it last looked.
const QUERIES: [&str; 2] = ["?disable_stats=true", ""];

/// All that it knows of a stream, with its policies.
pub(super) async fn stream(settings: &Settings, base: &Url, stream: &str) -> anyhow::Result<Stream> {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let path = format!("api/queues/{}/{}", encode(&settings.virtual_host), encode(stream));
    let until = Instant::now() + Duration::from_millis(KNOWN_WAIT_MS);
    loop {
        for query in QUERIES {
            let stream: Stream = get(settings, base, &format!("{path}{query}")).await?;
            if stream.policies.is_some() {
                return Ok(stream);
            }
        }
        ensure!(Instant::now() < until, "it does not say which policies the streams have");
        sleep(Duration::from_millis(KNOWN_PAUSE_MS)).await;
    }
}

async fn get<T: DeserializeOwned>(settings: &Settings, base: &Url, path: &str) -> anyhow::Result<T> {
    let answer = timeout(Duration::from_millis(ANSWER_WAIT_MS), body(settings, base, path)).await;
    let body = answer.with_context(|| format!("no answer within {ANSWER_WAIT_MS} ms"))??;
    serde_json::from_slice(&body).context("it does not answer as RabbitMQ's management plugin does")
}

/// Over the same kind of connection as AMQP has, so that the same certificates are trusted.
async fn body(settings: &Settings, base: &Url, path: &str) -> anyhow::Result<Bytes> {
    let host = base.host_str().context("it names no host")?;
    let authority = AMQPAuthority {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: base.port_or_known_default().context("it names no port")?,
        ..AMQPAuthority::default()
    };
    let scheme = if base.scheme() == "https" { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let uri = AMQPUri { scheme, authority, ..AMQPUri::default() };
    let runtime = runtime::default_runtime()?;
    let stream = uri.connect_with_config_async(settings.certificates.as_ref(), &runtime).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream.compat())).await?;
    // It ends with the answer, or with the error that the answer has, too.
    tokio::spawn(async { connection.await.ok() });
    let credentials = STANDARD.encode(format!("{}:{}", settings.username, settings.password));
    let request = Request::get(format!("{}/{path}", base.path().trim_end_matches('/')))
        .header(header::HOST, &base[url::Position::BeforeHost..url::Position::AfterPort])
        .header(header::AUTHORIZATION, format!("Basic {credentials}"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            bail!(r#"the user may not ask it: `rabbitmqctl set_user_tags {} monitoring`"#, settings.username)
        }
        status => bail!("it answers {status}"),
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
}
