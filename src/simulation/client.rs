//! A client: wants something, asks a process for it, repeats what failed, and reads what it wrote.

use super::intent::{Command, Intent};
use super::many::{Fed, Many};
use super::process::{Process, Ready};
use super::turnstile::{Caller, Kind, Role};
use super::world::World;
use crate::commands::{CommandError, Recorded};
use rand::RngExt;
use rand::rngs::SmallRng;
use refold_domain::foods;
use refold_domain::receipt::Receipt;
use refold_projections::query::{self, QueryError, Reached};
use refold_projections::store::{Limit, Store};
use refold_projections::view::Query;
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often a client asks for one thing while the world is broken.
const ASKS_MAX: u32 = 4;
/// How often it asks once the world is healed; a pause of a second lies between.
const ASKS_HEALED_MAX: u32 = 30;
/// How much a page has at most.
const PAGE: Limit = Limit { entries: 1_000, bytes: usize::MAX };

/// One request of a client, and what came of it.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it wanted.
    pub intent: Intent,
    /// The request's own name, carried by the command as its trace.
    pub trace: String,
    /// What had happened to the log when it began and when it was answered.
    pub during: (usize, usize),
    pub answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    Recorded(Recorded),
    Failed(CommandError),
    /// The process died.
    None,
}

/// A view as a client saw it.
#[derive(Debug)]
pub(super) struct Seen {
    pub view: String,
    pub offsets: Vec<Option<u64>>,
    pub data: Vec<Json>,
    /// What the client had waited for.
    pub receipts: Vec<Receipt>,
    /// How far each partition had to be to answer, where that is known.
    pub targets: Vec<Option<u64>>,
}

pub(super) struct Client {
    world: Arc<World>,
    number: u32,
    rng: SmallRng,
    caller: Caller,
    waits: (Duration, Duration),
    asked: u32,
    receipts: Vec<Receipt>,
    introductions: Vec<(String, u64)>,
}

impl Client {
    pub(super) fn new(world: &Arc<World>, number: u32) -> Self {
        let mut rng = world.turnstile().fork();
        let wait = |rng: &mut SmallRng| Duration::from_millis([15, 60, 400, 3_000][rng.random_range(0..4)]);
        let append = wait(&mut rng);
        let waits = (append, append.max(wait(&mut rng)));
        Self {
            world: Arc::clone(world),
            number,
            rng,
            caller: Caller::new(0, Role::Client(number)),
            waits,
            asked: 0,
            receipts: Vec::new(),
            introductions: Vec::new(),
        }
    }

    /// Wants so many things, one after the other.
    pub(super) async fn run(mut self, wants: u32) {
        for want in 0..wants {
            let unique = format!("c{}w{want}", self.number);
            let intent = Intent::draw(&mut self.rng, &unique, &self.introductions);
            self.pursue(&intent).await;
            if self.rng.random_bool(0.15) {
                self.feed().await;
            }
            if self.rng.random_bool(0.4) {
                self.look().await;
            }
        }
        self.waits = (Duration::from_secs(20), Duration::from_secs(30));
        self.world.healed().await;
        let intent = Intent::draw(&mut self.rng, &format!("c{}last", self.number), &self.introductions);
        self.pursue(&intent).await;
    }

    /// Asks until there is an answer, or patience is at its end. Without a key an unknown outcome ends it.
    async fn pursue(&mut self, intent: &Intent) {
        let mut asks = 0;
        loop {
            self.think().await;
            let Some(process) = self.process() else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let is_healed = self.world.is_healed();
            let is_final = self.ask(&process, intent).await;
            asks += 1;
            let has_patience = self.rng.random_bool(0.8) && asks < ASKS_MAX;
            if is_final && (is_healed || self.rng.random_bool(0.8)) || !is_healed && !has_patience {
                return;
            }
            if is_healed && asks > ASKS_HEALED_MAX {
                let told = format!("client {} gets no answer though all is well: {intent:?}", self.number);
                return self.world.complain(told);
            }
            if is_healed {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Asks once; whether the answer settles the matter.
    async fn ask(&mut self, process: &Arc<Process>, intent: &Intent) -> bool {
        let Some(commands) = process.commands(self.number, self.waits) else {
            return false;
        };
        self.asked += 1;
        let trace = format!("c{}a{}", self.number, self.asked);
        let before = self.world.changes_count();
        let (request, command) = (intent.request(trace.clone()), intent.command.clone());
        self.world.turnstile().note(|| format!("{trace} asks process {}: {intent:?}", process.number));
        let served =
            process.serve(async move { commands.execute(&request, |streams| command.decide(streams)).await });
        let answer = match served.await {
            Some(Ok(recorded)) => Answer::Recorded(recorded),
            Some(Err(error)) => Answer::Failed(error),
            None => Answer::None,
        };
        self.world.turnstile().note(|| format!("{trace} is told {}", answer.summary()));
        let is_final = answer.is_final();
        self.learn(intent, &answer);
        let during = (before, self.world.changes_count());
        self.world.asked(Asked { intent: intent.clone(), trace, during, answer });
        is_final
    }

    /// Sends many facts in one body, and again while patience lasts.
    async fn feed(&mut self) {
        let many = Many::draw(&mut self.rng);
        for _ in 0..ASKS_MAX {
            self.think().await;
            let Some(process) = self.process() else { return };
            let Some(commands) = process.commands(self.number, self.waits) else { return };
            self.asked += 1;
            let trace = format!("c{}a{}", self.number, self.asked);
            self.world.turnstile().note(|| format!("{trace} sends to process {}: {many:?}", process.number));
            let (lines, chunks) = (many.lines(), many.chunks(&trace));
            let sending = async move { commands.record_facts(&foods::OBSERVED, &lines, &chunks).await };
            let fed = Fed { many: many.clone(), outcome: process.serve(sending).await };
            self.world.turnstile().note(|| format!("{trace} is told {}", fed.summary()));
            let is_final = fed.is_final();
            if let Some(Ok(receipts)) = &fed.outcome {
                self.receipts.extend(receipts);
            }
            self.world.fed(fed);
            if is_final {
                return;
            }
        }
    }

    fn learn(&mut self, intent: &Intent, answer: &Answer) {
        let Answer::Recorded(recorded) = answer else {
            return;
        };
        self.receipts.push(recorded.receipt);
        if let Command::Introduction(id, _) = &intent.command {
            let data: Json = serde_json::from_str(recorded.events[0].data.get()).expect("JSON");
            let version = data["version"].as_u64().expect("a version");
            self.introductions.retain(|(known, _)| known != id);
            self.introductions.push((id.clone(), version));
        }
    }

    /// Reads a view, after waiting for some of what it wrote.
    async fn look(&mut self) {
        self.think().await;
        let Some((process, ready)) =
            self.process().and_then(|process| Some((process.clone(), process.ready()?)))
        else {
            return;
        };
        let projection = self.rng.random_range(0..ready.projections.len());
        let mut receipts = self.receipts.clone();
        receipts.retain(|_| self.rng.random_bool(0.5));
        let store = process.store(&Arc::new(Caller::new(process.number, Role::Client(self.number))));
        let targets = self.world.store().targets(ready.progress.partitions());
        let (put_back, first_put_back) = (self.world.store().put_back_count(), ready.put_back);
        let looking = see(ready, store, projection, receipts.clone(), self.waits.1);
        match process.serve(looking).await.flatten() {
            Some((view, Ok(page))) => {
                let offsets = page.position.offsets;
                self.world.turnstile().note(|| format!("client {} sees {view} at {offsets:?}", self.number));
                let is_same = put_back == self.world.store().put_back_count();
                let targets = if is_same { targets } else { Vec::new() };
                self.world.saw(Seen { view, offsets, data: page.data, receipts, targets });
            }
            Some((view, Err(QueryError::Folding { .. })))
                if first_put_back == self.world.store().put_back_count() =>
            {
                self.world.complain(format!(
                    "{view} is refused, though its process has folded all and more: {receipts:?}"
                ));
            }
            _ => {}
        }
    }

    async fn think(&self) {
        self.world.turnstile().call(&self.caller, 0, ("thinks", Kind::Asks), || ()).await;
    }

    fn process(&mut self) -> Option<Arc<Process>> {
        let serving = self.world.serving();
        (!serving.is_empty()).then(|| serving[self.rng.random_range(0..serving.len())].clone())
    }
}

/// A view as a process shows it that has folded these receipts and everything that was there before it; nothing if
/// that takes too long.
async fn see(
    ready: Arc<Ready>,
    store: Arc<dyn Store>,
    projection: usize,
    receipts: Vec<Receipt>,
    wait: Duration,
) -> Option<(String, Result<query::Page, QueryError>)> {
    let mut reached = Reached::default();
    for receipt in &receipts {
        let (_, at) = timeout(wait, ready.progress.judged(store.as_ref(), receipt)).await.ok()?.ok()?;
        reached.note(receipt.partition, at);
    }
    let partitions = 0..ready.progress.partitions();
    let heads = partitions.map(|partition| ready.progress.state(partition).head);
    let is_ready = heads.into_iter().all(|head| head.is_some_and(|head| head.is_caught_up()));
    let projection = &ready.projections[projection];
    let request = query::Request { query: Query::default(), cursor: None, limit: PAGE };
    let page = query::page(store.as_ref(), &ready.progress, projection, &request, &reached).await;
    let is_telling = is_ready || page.is_ok();
    is_telling.then(|| (projection.definition.name.clone(), page))
}

impl Answer {
    /// Whether asking again would be of no use.
    fn is_final(&self) -> bool {
        match self {
            Self::Recorded(_) => true,
            Self::None => false,
            Self::Failed(error) => matches!(
                error,
                CommandError::Rejected(_)
                    | CommandError::KeyReused
                    | CommandError::TooLarge(_)
                    | CommandError::Lost(_)
            ),
        }
    }

    /// The answer without ids, which are others each time.
    fn summary(&self) -> String {
        match self {
            Self::Recorded(recorded) => {
                format!("recorded, {}", if recorded.is_repeat() { "a repeat" } else { "new" })
            }
            Self::Failed(CommandError::Lost(_)) => "lost".into(),
            Self::Failed(error) => format!("{error}"),
            Self::None => "nothing".into(),
        }
    }
}
