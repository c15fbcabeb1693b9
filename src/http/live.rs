//! Views as they change: the whole page, again whenever it is another one, a few times a second at most.
//!
//! A page and not what changed in it: whoever missed one has lost nothing, and shows the next as it comes. It is read
//! once for all who asked the same question, however many they are, and not at all while nobody asks.

use super::Tag;
use super::failure::{Failure, Following};
use super::places::place;
use super::problem::Problem;
use super::reading::page;
use super::streams::{Ended, Sse, Stream, Streams};
use super::typed::Typed;
use super::views::{Answer, Views, Zero, by, projection};
use crate::service::Service;
use bytes::Bytes;
use jiff::Timestamp;
use poem::Request;
use poem_openapi::param::{Header, Path, Query as Parameter};
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, OpenApi};
use refold_projections::query::{self, QueryError, Reached};
use refold_projections::view::Query;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

/// How much time lies between two messages at least: five a second.
const EVERY: Duration = Duration::from_millis(200);

/// The routes of views as they change.
pub struct Live {
    service: Arc<Service>,
    streams: Streams,
    feeds: Arc<Feeds>,
}

/// What is read for whom, by question.
struct Feeds {
    service: Arc<Service>,
    running: Mutex<HashMap<String, watch::Sender<Shown>>>,
}

/// What is asked.
#[derive(Debug, Clone)]
enum Question {
    /// How all projections are doing.
    Projections,
    /// A page of a view.
    View(String, query::Request),
}

/// What is shown at the moment; nothing yet, where there is none.
type Shown = Option<Arc<Message>>;

/// A message of a stream.
#[derive(Debug)]
struct Message {
    /// How far the store had come.
    position: Option<String>,
    text: Bytes,
}

#[derive(ApiResponse)]
enum Changes {
    /// Each message's data is a page of the view, as `/views/{name}` answers it; its id is the position
    #[oai(status = 200)]
    Pages(Sse),
}

#[derive(ApiResponse)]
enum Standings {
    /// Each message's data is what `/projections` answers; its id is the position
    #[oai(status = 200)]
    List(Sse),
}

impl Live {
    /// The routes.
    pub fn new(service: &Arc<Service>, streams: Streams) -> Self {
        let feeds = Feeds { service: Arc::clone(service), running: Mutex::default() };
        Self { service: Arc::clone(service), streams, feeds: Arc::new(feeds) }
    }
}

#[OpenApi(tag = "Tag::Views")]
impl Live {
    /// A view as it changes
    ///
    /// A stream (SSE): the first page of the view, and again whenever it has changed, at most five times a second.
    /// While the view has no answer (it is being folded, for example) the stream says why (`event: waiting`, a problem)
    /// and goes on by itself. Who comes back with the id of the page that is still shown is sent the next change.
    #[oai(path = "/views/:name/live", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn follow(
        &self,
        request: &Request,
        /// The projection's name
        name: Path<String>,
        /// How many cells a page has at most, 100 unless said; one of large cells has fewer
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// The first time wanted, of rows, or of steps of a series
        from: Parameter<Option<Typed<Timestamp>>>,
        /// The first time not wanted any more, of rows, or of steps of a series
        until: Parameter<Option<Typed<Timestamp>>>,
        /// What to put into the gaps of a series, from `from` or the first step to `until` or the last
        fill: Parameter<Option<Typed<Zero>>>,
        /// The id of the last message, of who was here before
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<Changes, Failure<Following>> {
        let projection = projection(&self.service, &name.0)?;
        let query = Query {
            by: by(request)?,
            from: from.0.map(|Typed(time)| time),
            until: until.0.map(|Typed(time)| time),
            fill: fill.0.is_some(),
            ..Query::default()
        };
        projection.view.select(&query).map_err(QueryError::Bad)?;
        let last = last.0.filter(|id| !id.is_empty());
        if let Some(id) = &last {
            place(&self.service, "Last-Event-ID", id).await?;
        }
        let question = Question::View(name.0, page(query, None, limit.0));
        Ok(Changes::Pages(self.open(request, question, last)?))
    }

    /// How the projections are doing, as it changes
    ///
    /// A stream (SSE) of what `/projections` answers: now, and again whenever something was folded or went wrong, at
    /// most five times a second. One such stream tells which views to read again.
    #[oai(path = "/projections/live", method = "get")]
    async fn projections(
        &self,
        request: &Request,
        /// The id of the last message, of who was here before; what is shown now is sent all the same
        #[oai(name = "Last-Event-ID")]
        _last: Header<Option<String>>,
    ) -> Result<Standings, Failure<Following>> {
        Ok(Standings::List(self.open(request, Question::Projections, None)?))
    }
}

impl Live {
    fn open(&self, request: &Request, question: Question, known: Option<String>) -> Result<Sse, Problem> {
        let (stream, sse) = self.streams.open(request)?;
        let shown = self.feeds.follow(question);
        let telling = async move {
            let Err(ended) = send(&stream, shown, known).await;
            stream.end(ended).await;
        };
        tokio::spawn(telling.in_current_span());
        Ok(sse)
    }
}

/// Sends what is shown, each time that it has changed.
async fn send(
    stream: &Stream,
    mut shown: watch::Receiver<Shown>,
    known: Option<String>,
) -> Result<Infallible, Ended> {
    stream.greet(None).await?;
    shown.mark_changed();
    loop {
        // The sender lives as long as somebody follows.
        stream.wait(async { drop(shown.changed().await) }, String::new).await?;
        let message = shown.borrow_and_update().clone();
        if let Some(message) = message.filter(|message| known.is_none() || message.position != known) {
            stream.send(message.text.clone()).await?;
        }
    }
}

impl Feeds {
    /// Follows what a question is answered, with everybody else who asks it.
    fn follow(self: &Arc<Self>, question: Question) -> watch::Receiver<Shown> {
        let name = format!("{question:?}");
        let mut running = self.running();
        if let Some(shown) = running.get(&name) {
            return shown.subscribe();
        }
        let (shown, receiver) = watch::channel(None);
        running.insert(name.clone(), shown.clone());
        tokio::spawn(Arc::clone(self).run(question, name, shown));
        receiver
    }

    /// Reads whenever something was folded, until nobody follows.
    async fn run(self: Arc<Self>, question: Question, name: String, shown: watch::Sender<Shown>) {
        let mut changes = self.service.progress.changes();
        let mut last = None;
        while !self.is_over(&name, &shown) {
            changes.borrow_and_update();
            let next = Instant::now() + EVERY;
            let (message, content) = self.read(&question).await;
            if last.as_ref() != Some(&content) {
                last = Some(content);
                shown.send_replace(Some(Arc::new(message)));
            }
            tokio::select! {
                () = shown.closed() => {}
                () = async { sleep_until(next).await; drop(changes.changed().await) } => {}
            }
        }
    }

    /// Whether nobody follows any more; who comes now begins anew.
    fn is_over(&self, name: &str, shown: &watch::Sender<Shown>) -> bool {
        let mut running = self.running();
        let is_over = shown.is_closed();
        if is_over {
            running.remove(name);
        }
        is_over
    }

    /// What is to be shown, and what of it makes it another one.
    async fn read(&self, question: &Question) -> (Message, String) {
        match question {
            Question::View(name, request) => {
                let page = self.page(name, request).await;
                page.unwrap_or_else(|problem| waiting(&problem))
            }
            Question::Projections => {
                let position = self.service.progress.position().to_string();
                let content = Views(Arc::clone(&self.service)).standings().await.to_json_string();
                (Message::new(position, &content), content)
            }
        }
    }

    async fn page(&self, name: &str, request: &query::Request) -> Result<(Message, String), Problem> {
        let projection = projection(&self.service, name)?;
        let page = self.service.page(name, request, &Reached::default()).await?;
        let answer = Answer::of(projection, page);
        let content = serde_json::json!([answer.data, answer.next]).to_string();
        let text = answer.to_json_string();
        Ok((Message::new(answer.position, &text), content))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Shown>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Message {
    fn new(position: String, data: &str) -> Self {
        let text = format!("id: {position}\ndata: {data}\n\n");
        Self { position: Some(position), text: text.into() }
    }
}

/// Says why there is no page.
fn waiting(problem: &Problem) -> (Message, String) {
    let content = problem.body().to_string();
    (Message { position: None, text: format!("event: waiting\ndata: {content}\n\n").into() }, content)
}
