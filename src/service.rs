//! What every handler works with: the log, the store, and the workers between them.

use crate::access::accounts::Users;
use crate::access::tokens::Tokens;
use crate::access::{Accounts, secrets};
use crate::commands::Commands;
use crate::genesis;
use crate::health::Health;
use crate::inspection::Inspection;
use crate::settings::{Log, Settings, StoreKind, role};
use crate::tail::{Sources, Tail};
use crate::workers::{self, Beside};
use crate::writer::Writer;
use anyhow::{Context, bail};
use refold_adapters::lock::DataDir;
use refold_adapters::{Access, Config, embedded};
use refold_domain::log::{End, EventLog, LogError, Offset, Risk};
use refold_domain::receipt::Position;
use refold_projections::catalogue::{self, Projection};
use refold_projections::peers::Peers;
use refold_projections::progress::Progress;
use refold_projections::store::{self, Limit, Opened, Store, Wanted, kinds};
use refold_projections::view::Query;
use refold_projections::{definition, query};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long a query waits for the store, for each page.
const PAGE_WAIT: Duration = Duration::from_secs(10);
/// How much is read at a time where all is wanted.
const EVERY: Limit = Limit { entries: 10_000, bytes: 4 << 20 };

/// How long a process that ends waits for the store to hear that it folds no more.
const RESIGN_WAIT: Duration = Duration::from_secs(2);

/// The running system behind HTTP.
pub struct Service {
    /// Where commands are recorded.
    pub log: Arc<dyn EventLog>,
    /// Where read models are kept.
    pub store: Arc<dyn Store>,
    /// How far the store has come.
    pub progress: Arc<Progress>,
    /// What is folded.
    pub projections: Arc<Vec<Projection>>,
    /// How commands are executed.
    pub commands: Arc<Commands>,
    /// What happened last.
    pub tail: Arc<Tail>,
    /// What everything depends on.
    pub health: Health,
    /// Who is who.
    pub tokens: Tokens,
    /// What is known of users.
    pub users: Arc<Users>,
    /// The same, for those who bring a token.
    pub accounts: Arc<dyn Accounts>,
    writer: Arc<Writer>,
    log_inspection: Arc<Inspection>,
    store_inspection: Arc<Inspection>,
    /// The projectors, who reads for the tail, and who looks at the servers of log and store.
    workers: Mutex<Vec<JoinSet<()>>>,
    /// Those who share the store, where several processes can.
    pub peers: Option<Arc<dyn Peers>>,
    /// What this process is known by to them.
    member: Uuid,
    _data_dir: DataDir,
}

impl Service {
    /// Opens log and store, and starts to fold.
    ///
    /// # Errors
    /// Where something is not as it must be: the reason, and what to do.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        role::refuse_alone(settings)?;
        let definitions =
            definition::load(settings.projections.dir.as_deref(), &settings.vehicles.suspicious)?;
        // Before anything is written: where there can be none, nothing may be served.
        secrets::place(settings)?;
        let data_dir = DataDir::lock(&settings.data_dir)?;
        let tokens = Tokens::new(&secrets::open(settings)?, &settings.auth);
        let partitions = NonZeroU32::new(settings.log.partitions).context("log.partitions is 0")?;
        let place = store_place(settings)?;
        let unusable = |error| unusable(&place, error);
        let store_risks = place.risks().await.map_err(unusable)?;
        refuse_fatal(&store_risks).map_err(unusable)?;
        let Opened { store, peers } = place.open().await.map_err(unusable)?;
        let folded = folded_log(store.as_ref(), partitions.get()).await.map_err(unusable)?;
        let (log, log_risks) = open_log(settings, folded).await?;
        let found = genesis::find(log.as_ref(), partitions).await.context("cannot open the log")?;
        // Before a new log is made: one that is missing is not one that never was.
        refuse_other_logs(&settings.log, folded, found)?;
        let id = match found {
            Some(id) => id,
            None => genesis::make(log.as_ref(), partitions).await.context("cannot open the log")?,
        };
        if !settings.role.folds() {
            catalogue::agree(store.as_ref(), &definitions).await?;
        }
        let projections = catalogue::open(store.as_ref(), definitions).await.map_err(unusable)?;
        let projections = Arc::new(projections);
        // The embedded log is this process's alone, whoever shares the store.
        let peers = peers.filter(|_| settings.log.broker != embedded::NAME);
        let (telling, untold) = mpsc::channel(workers::UNTOLD_MAX);
        let progress = Progress::new(id, partitions.get());
        let progress = Arc::new(if peers.is_some() { progress.telling(telling) } else { progress });
        let queue = settings.writer.queue_commands_max;
        let writer = Arc::new(Writer::start(&log, id, partitions.get(), queue));
        let commands = Arc::new(Commands {
            log: Arc::clone(&log),
            store: Arc::clone(&store),
            progress: Arc::clone(&progress),
            writer: Arc::clone(&writer),
            append_wait: settings.writer.append_wait,
            verdict_wait: settings.decide.wait,
            recalled: Arc::default(),
        });
        let users = Arc::new(Users::new(&commands, &settings.auth)?);
        let folding = workers::Sources {
            log: Arc::clone(&log),
            store: Arc::clone(&store),
            projections: Arc::clone(&projections),
            progress: Arc::clone(&progress),
        };
        let member = Uuid::now_v7();
        let folders = match &peers {
            Some(peers) => {
                let beside = Beside { peers: Arc::clone(peers), member, role: settings.role, untold };
                workers::share(&folding, beside)
            }
            None => workers::fold_all(&folding),
        };
        let sources =
            Sources { log: Arc::clone(&log), store: Arc::clone(&store), progress: Arc::clone(&progress) };
        let (tail, readers) = Tail::start(sources);
        let log_inspection = Arc::new(Inspection::new("log", log_risks));
        let store_inspection = Arc::new(Inspection::new("store", store_risks));
        let (every, mut inspecting) = (settings.log.check_every, JoinSet::new());
        inspecting.spawn(Arc::clone(&store_inspection).of_store(Arc::clone(&store), every));
        // Nobody else has its file open.
        if settings.log.broker != embedded::NAME {
            inspecting.spawn(Arc::clone(&log_inspection).of_log(Arc::clone(&log), every));
        }
        let workers = Mutex::new(vec![folders, readers, inspecting]);
        let health = Health::default();
        Ok(Self {
            log,
            store,
            progress,
            projections,
            commands,
            tail,
            health,
            tokens,
            accounts: Arc::clone(&users) as Arc<dyn Accounts>,
            users,
            writer,
            log_inspection,
            store_inspection,
            workers,
            peers,
            member,
            _data_dir: data_dir,
        })
    }

    /// The projection of this name.
    pub fn projection(&self, name: &str) -> Option<&Projection> {
        self.projections.iter().find(|projection| projection.definition.name == name)
    }

    /// Reads a page of the view of a projection that is always there.
    ///
    /// # Errors
    /// [`query::QueryError`]
    pub async fn page(
        &self,
        name: &str,
        request: &query::Request,
        reached: &query::Reached,
    ) -> Result<query::Page, query::QueryError> {
        let projection = self.projection(name).with_context(|| format!("there is no projection {name}"))?;
        let read = async {
            let page = query::page(self.store.as_ref(), &self.progress, projection, request, reached).await?;
            // Now, so that all that was read is known to be borne out by the log.
            query::verified(&self.progress)?;
            Ok(page)
        };
        let page = tokio::time::timeout(PAGE_WAIT, read).await;
        let mut page = page.with_context(|| format!("the store has not answered within {PAGE_WAIT:?}"))?;
        if let Ok(read) = &page {
            // The store may have been read before its flush was told. Whoever sees it now must not be given what was kept
            // from before, as they would be until then.
            let told = tokio::time::timeout(PAGE_WAIT, self.progress.told(&read.position)).await;
            page = told.map_err(|_| query::QueryError::Ahead(self.progress.problem())).and(page);
        }
        if let Err(query::QueryError::Failed(error)) = &page {
            self.progress.note(error);
        }
        page
    }

    /// Hands every cell of a view to `take`, page by page, and says how far the view had come when the first page was
    /// read. What stands on later pages is at least as new.
    ///
    /// # Errors
    /// [`query::QueryError`], which an error of `take` becomes, too.
    pub async fn every(
        &self,
        name: &str,
        mut reached: query::Reached,
        mut take: impl FnMut(serde_json::Value) -> anyhow::Result<()>,
    ) -> Result<Position, query::QueryError> {
        let mut next = query::Request { query: Query::default(), cursor: None, limit: EVERY };
        let mut first = None;
        loop {
            let page = self.page(name, &next, &reached).await?;
            page.data.into_iter().try_for_each(&mut take)?;
            reached.note_all(&page.position);
            let position = first.get_or_insert(page.position).clone();
            next.cursor = page.next;
            if next.cursor.is_none() {
                return Ok(position);
            }
        }
    }

    /// Whether a partition reaches `offset`, if the log can say so in time.
    pub async fn reaches(&self, partition: u32, offset: Offset) -> Option<bool> {
        let end = match self.log.bounds(partition).await.ok()?.end {
            End::Empty => return None,
            End::Last(end) => end,
            End::AtLeast(end) if offset <= end => end,
            End::AtLeast(_) => self.commands.pass_all(partition).await.ok()?,
        };
        Some(offset <= end)
    }

    /// The offset of a partition's last record, if the log can say so in time.
    pub async fn end(&self, partition: u32) -> Option<Offset> {
        match self.log.bounds(partition).await.ok()?.end {
            End::Last(end) => Some(end),
            End::Empty | End::AtLeast(_) => None,
        }
    }

    /// Why the log does not take appends, if it does not.
    pub fn unwritable(&self) -> Option<String> {
        self.writer.problem()
    }

    /// What of the log is lost or may be at any time, if anything is.
    pub fn unsafe_log(&self) -> Option<String> {
        self.log_inspection.problem()
    }

    /// What of the read models may be lost at any time, if anything is.
    pub fn unsafe_store(&self) -> Option<String> {
        self.store_inspection.problem()
    }

    /// Leaves what it folded to others at once: they would have to find out.
    async fn resign(&self) {
        let Some(peers) = &self.peers else { return };
        let resigned = tokio::time::timeout(RESIGN_WAIT, peers.resign(self.member)).await;
        if let Err(error) = resigned.map_err(anyhow::Error::from).flatten() {
            tracing::warn!("others take over what was folded here only after some seconds: {error:#}");
        }
    }

    /// Takes no more commands, finishes those held, and stops to fold.
    ///
    /// # Errors
    /// Where commands were still waiting for the log's confirm when the time was up.
    pub async fn stop(&self, time: Duration) -> anyhow::Result<()> {
        let finished = tokio::time::timeout(time, self.writer.close()).await;
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for mut workers in workers {
            workers.shutdown().await;
        }
        self.resign().await;
        finished.context("the log has not confirmed every command that was taken: their outcome is unknown")
    }
}

/// Opens the log, and says what is at risk. What a store was folded from is there, or it is gone: it is not made anew.
async fn open_log(
    settings: &Settings,
    folded: Option<Uuid>,
) -> anyhow::Result<(Arc<dyn EventLog>, Vec<Risk>)> {
    let mut config = log_config(settings);
    if folded.is_some() {
        config.access = Access::Use;
    }
    let opened = refold_adapters::open(&config).await;
    if let Err(error) = &opened
        && matches!(error.downcast_ref(), Some(LogError::Missing(_)))
    {
        refuse_other_logs(&settings.log, folded, None)?;
    }
    let log = opened?;
    let risks = log.check().await.context("cannot check the log")?;
    refuse_fatal(&risks)?;
    Ok((log, risks))
}

/// Tells what is at risk; where too much is, nothing may be served.
fn refuse_fatal(risks: &[Risk]) -> anyhow::Result<()> {
    for risk in risks {
        if risk.fatal {
            bail!("{}: {}", risk.found, risk.remedy);
        }
        tracing::warn!(remedy = risk.remedy, "{}", risk.found);
    }
    Ok(())
}

/// What the settings say about the log.
pub fn log_config(settings: &Settings) -> Config {
    Config {
        broker: settings.log.broker.clone(),
        name: settings.log.name.clone(),
        data_dir: settings.data_dir.clone(),
        partitions: settings.log.partitions,
        access: if settings.log.create { Access::Create } else { Access::Use },
        options: settings.servers.get(&settings.log.broker).cloned().unwrap_or_default(),
    }
}

/// What the settings say about the store.
///
/// # Errors
/// Which of them cannot be used.
pub fn store_place(settings: &Settings) -> anyhow::Result<store::Place> {
    let kind = match settings.store.kind {
        StoreKind::Embedded => kinds::EMBEDDED,
        StoreKind::Redis => kinds::REDIS,
    };
    let options = settings.servers.get(kind).cloned().unwrap_or_default();
    let log = &settings.log;
    store::Place::new(kind, settings.data_dir.clone(), &options, &log.name, log.partitions)
}

fn unusable(place: &store::Place, error: anyhow::Error) -> anyhow::Error {
    let remedy = place.remedy(&error);
    error.context(format!("the store cannot be used: {remedy}"))
}

/// The log that a store was folded from, if it was folded from any.
///
/// # Errors
/// Where the store cannot be read.
pub async fn folded_log(store: &dyn Store, partitions: u32) -> anyhow::Result<Option<Uuid>> {
    for partition in 0..partitions {
        let loaded = store.load(partition, Wanted::new()).await.context("cannot read the store")?;
        if let Some(head) = loaded.head {
            return Ok(Some(head.log));
        }
    }
    Ok(None)
}

/// Refuses a store that was folded from another log than the one that was found.
///
/// # Errors
/// What may have happened, and what to do.
pub fn refuse_other_logs(log: &Log, folded: Option<Uuid>, found: Option<Uuid>) -> anyhow::Result<()> {
    let Some(folded) = folded.filter(|folded| Some(*folded) != found) else {
        return Ok(());
    };
    let meant = format!("see that log.broker ({:?}) and log.name ({:?}) are meant", log.broker, log.name);
    let Some(found) = found else {
        bail!(
            "the store belongs to the log {folded}, but there is none here: {meant}, and put the store's log back: its \
             files (log.sqlite*), what its server had on disk, or a backup; if it is lost for good, the store has all \
             that is left of it: keep a copy before you run `refold store empty` to start with nothing"
        );
    };
    bail!(
        "the store belongs to the log {folded}, but the log here is {found}: {meant}, and put the store's log back, or run \
         `refold store empty` to fold the store anew from the log that is here"
    )
}
