//! A process as `refold serve` makes it: the real writer, commands and projectors over a broken world.

use super::log;
use super::peers::Peers;
use super::store;
use super::turnstile::{Caller, Role};
use super::world::Outside;
use crate::commands::{Commands, Recalled};
use crate::genesis;
use crate::settings::role;
use crate::workers::{self, Beside, UNTOLD_MAX};
use crate::writer::Writer;
use futures::FutureExt;
use refold_domain::log::EventLog;
use refold_projections::catalogue::{self, Projection};
use refold_projections::definition::Definition;
use refold_projections::progress::Progress;
use refold_projections::store::Store;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many commands may wait for a partition's writer.
const QUEUE_COMMANDS: usize = 4;
/// How long a process that could not start waits before it is started again.
const START_WAIT: Duration = Duration::from_millis(100);

/// A process that was started; it may not be ready yet.
pub(super) struct Process {
    pub number: u32,
    role: role::Role,
    outside: Arc<Outside>,
    tasks: Mutex<JoinSet<()>>,
    ready: Mutex<Option<Arc<Ready>>>,
}

/// What a process that serves is made of.
pub(super) struct Ready {
    pub progress: Arc<Progress>,
    pub projections: Arc<Vec<Projection>>,
    /// How often the store had been put back before this process first looked at it.
    pub put_back: usize,
    writer: Arc<Writer>,
    recalled: Arc<Recalled>,
}

impl Process {
    pub(super) fn start(outside: &Arc<Outside>, number: u32, role: role::Role) -> Arc<Self> {
        let process = Arc::new(Self {
            number,
            role,
            outside: Arc::clone(outside),
            tasks: Mutex::new(JoinSet::new()),
            ready: Mutex::new(None),
        });
        let weak = Arc::downgrade(&process);
        process.spawn(async move {
            loop {
                let Some(process) = weak.upgrade() else { return };
                let Err(error) = process.boot().await else { return };
                process.outside.turnstile.note(|| format!("process {number} cannot start: {error:#}"));
                drop(process);
                tokio::time::sleep(START_WAIT).await;
            }
        });
        process
    }

    async fn boot(self: &Arc<Self>) -> anyhow::Result<()> {
        let caller = Arc::new(Caller::new(self.number, Role::Start));
        let partitions = NonZeroU32::new(self.outside.partitions).expect("there is a partition");
        let log = genesis::open(self.log(&caller).as_ref(), partitions).await?;
        let projections = Arc::new(catalogue::open(self.store(&caller).as_ref(), definitions()).await?);
        let put_back = self.outside.store.put_back_count();
        let (telling, untold) = mpsc::channel(UNTOLD_MAX);
        let progress = Arc::new(Progress::new(log, partitions.get()).telling(telling));
        let caller = Arc::new(Caller::new(self.number, Role::Projector));
        let sources = workers::Sources {
            log: self.log(&caller),
            store: self.store(&caller),
            projections: Arc::clone(&projections),
            progress: Arc::clone(&progress),
        };
        let peers = Peers {
            shared: Arc::clone(&self.outside.peers),
            caller: Arc::new(Caller::new(self.number, Role::Peers)),
        };
        let member = Uuid::from_u128(self.number.into());
        let beside = Beside { peers: Arc::new(peers), member, role: self.role, untold };
        self.spawn(workers::share(&sources, beside).join_all().map(drop));
        let writing = self.log(&Arc::new(Caller::new(self.number, Role::Writer)));
        let writer = Arc::new(Writer::start(&writing, log, partitions.get(), QUEUE_COMMANDS));
        *self.ready.lock().expect("unpoisoned") =
            Some(Arc::new(Ready { progress, projections, put_back, writer, recalled: Arc::default() }));
        self.outside.turnstile.note(|| format!("process {} serves", self.number));
        Ok(())
    }

    /// What serves, once it does.
    pub(super) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.lock().expect("unpoisoned").clone()
    }

    /// The commands as a request of this client finds them.
    pub(super) fn commands(&self, client: u32, waits: (Duration, Duration)) -> Option<Commands> {
        let ready = self.ready()?;
        let caller = Arc::new(Caller::new(self.number, Role::Client(client)));
        Some(Commands {
            log: self.log(&caller),
            store: self.store(&caller),
            progress: Arc::clone(&ready.progress),
            writer: Arc::clone(&ready.writer),
            append_wait: waits.0,
            verdict_wait: waits.1,
            recalled: Arc::clone(&ready.recalled),
        })
    }

    /// Serves a request: `None` if the process dies before it is answered.
    pub(super) async fn serve<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (send, answer) = oneshot::channel();
        self.spawn(async move { drop(send.send(request.await)) });
        answer.await.ok()
    }

    /// Dies at once.
    pub(super) fn kill(&self) {
        self.tasks.lock().expect("unpoisoned").abort_all();
        *self.ready.lock().expect("unpoisoned") = None;
        self.outside.turnstile.bury(self.number);
    }

    /// The panic of a task, if there was one.
    pub(super) fn panicked(&self) -> Option<String> {
        let mut tasks = self.tasks.lock().expect("unpoisoned");
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                return Some(format!("a task of process {} panicked", self.number));
            }
        }
        None
    }

    pub(super) fn store(&self, caller: &Arc<Caller>) -> Arc<dyn Store> {
        Arc::new(store::Connection { shared: Arc::clone(&self.outside.store), caller: Arc::clone(caller) })
    }

    fn log(&self, caller: &Arc<Caller>) -> Arc<dyn EventLog> {
        Arc::new(log::Connection { broker: Arc::clone(&self.outside.broker), caller: Arc::clone(caller) })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().expect("unpoisoned").spawn(task);
    }
}

/// The compiled-in definitions, read once per thread.
fn definitions() -> Vec<Definition> {
    thread_local! {
        static DEFINITIONS: Vec<Definition> = refold_projections::definition::defaults();
    }
    DEFINITIONS.with(Clone::clone)
}
