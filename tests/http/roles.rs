//! Several processes on one log and one Redis: those that answer and those that fold, killed, stopped and going on in turns.

use crate::client::Client;
use crate::foods::{aggregated, newest, observe, send_all};
use crate::kills::{
    Journal, acknowledged, counts, every_repeat_is_answered_the_same, everything_is_exact, finished, jobs,
    number, run,
};
use crate::redis::until_problem;
use crate::remote::Remote;
use crate::server::{Server, in_time};
use crate::servers::Server as Broker;
use crate::servers::redis::ask;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, interval_at};

/// For how long they are disturbed, in seconds, unless `REFOLD_ROLES_SECONDS` says otherwise.
const DISTURBED_SECONDS: u64 = 20;
/// How many jobs come in a second.
const JOBS_PER_SECOND: u64 = 60;
/// How often jobs come.
const PACE: Duration = Duration::from_millis(100);
/// How long it is quiet between two disturbances, in milliseconds.
const QUIET_MS: std::ops::Range<u64> = 500..1_500;
/// How long a process stands still, in milliseconds: some of them are taken for dead meanwhile.
const PAUSE_MS: std::ops::Range<u64> = 200..5_000;
/// How often another process is asked.
const TURN: Duration = Duration::from_millis(50);
/// How often counts are compared, which takes the longer the more was answered.
const WATCH: Duration = Duration::from_millis(100);
/// What Redis keeps on its disk: all but the last second.
const REDIS: &str = "appendonly yes\nappendfsync everysec\n";
const ROLES: [&str; 5] = ["api", "api", "projector", "projector", "projector"];

/// All that work together.
struct Company {
    _log: Broker,
    redis: Broker,
    /// Each with its role.
    processes: Vec<(&'static str, Server)>,
}

impl Company {
    /// That have begun at once, on a new log.
    async fn start(remote: &Remote, kind: &str, roles: &[&'static str]) -> Self {
        let log = Broker::start(kind, remote.ports, "");
        let redis = Broker::start("redis", 1, REDIS);
        let name = Server::new().variable("REFOLD__LOG__NAME").unwrap().to_owned();
        let process = |role: &&'static str| {
            let mut process = remote.service(log.address()).with("ROLE", role).with("LOG__NAME", &name);
            process.set("STORE__KIND", "redis");
            process.set("REDIS__SERVERS", &redis.address().to_string());
            (*role, process)
        };
        let mut processes: Vec<_> = roles.iter().map(process).collect();
        for (_, process) in &mut processes {
            process.launch().await;
        }
        let company = Self { _log: log, redis, processes };
        company.until_ready().await;
        for (_, process) in &company.processes {
            // They have all tried to be the first on the log.
            assert!(!process.said().contains("ERROR"), "{}", process.said());
        }
        company
    }

    async fn until_ready(&self) {
        for (_, process) in &self.processes {
            process.until_ready().await;
        }
    }

    /// Those who answer.
    fn answering(&self) -> impl Iterator<Item = &Server> {
        self.processes.iter().filter(|(role, _)| *role == "api").map(|(_, process)| process)
    }

    /// Somebody who asks another of them each time.
    fn client(&self) -> (Client, JoinHandle<()>) {
        let addresses: Vec<_> = self.answering().map(Server::address).collect();
        let (turn, address) = watch::channel(None);
        let turning = tokio::spawn(async move {
            let mut ticks = interval(TURN);
            for addresses in addresses.iter().cycle() {
                ticks.tick().await;
                let next: Option<SocketAddr> = *addresses.borrow();
                if next.is_some() {
                    turn.send_replace(next);
                }
            }
        });
        (Client::new(address), turning)
    }

    /// Kills one of them, or lets it stand still for a while.
    async fn disturb(&mut self, random: &mut StdRng, until: Instant) {
        let index = random.random_range(0..self.processes.len());
        let (_, process) = &mut self.processes[index];
        if random.random_bool(0.5) {
            process.kill().await;
            process.launch().await;
        } else {
            process.signal("STOP").await;
            let pause = Instant::now() + Duration::from_millis(random.random_range(PAUSE_MS));
            moment(pause.min(until)).await;
            process.signal("CONT").await;
        }
    }
}

/// Waits until then: what happens next has no other cause.
async fn moment(then: Instant) {
    interval_at(then, TURN).tick().await;
}

/// What is shown while everything is disturbed: all that was acknowledged before it was asked for, or nothing.
async fn watch_counts(client: Client, journal: Arc<Journal>, mut done: oneshot::Receiver<()>) -> Shown {
    let mut shown = Shown::default();
    journal.until(1).await;
    let mut ticks = interval(WATCH);
    while done.try_recv().is_err() {
        ticks.tick().await;
        let answered = journal.answered();
        let answers: Vec<_> = answered.iter().map(|(_, answer)| answer.clone()).collect();
        // One that is killed while it answers is asked again.
        let Ok(answer) = client.get("/aggregated").after(newest(&answers)).attempt().await else { continue };
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{answer:?}");
            *shown.refused.entry(answer.json()["type"].as_str().unwrap().to_owned()).or_default() += 1;
            continue;
        }
        let counted = counts(&answer.json());
        for (food, acknowledged) in acknowledged(&answered) {
            let counted = counted.get(&food).copied().unwrap_or_default();
            assert!(counted >= acknowledged, "{food}: {counted}, acknowledged {acknowledged}");
        }
        let begun = journal.begun();
        for (food, counted) in &counted {
            assert!(begun.get(food) >= Some(counted), "{food}: {counted}, begun {begun:?}");
        }
        shown.counts += 1;
    }
    shown
}

/// How often something was shown.
#[derive(Debug, Default)]
struct Shown {
    counts: usize,
    refused: BTreeMap<String, usize>,
}

#[tokio::test]
async fn whoever_dies_or_sleeps_everything_counts_once() {
    let seconds = number("REFOLD_ROLES_SECONDS", DISTURBED_SECONDS);
    for (remote, kind) in Remote::asked().filter(|(_, kind)| !kind.starts_with("rabbit")) {
        let seed = number("REFOLD_SIM_SEED", 1);
        println!("{kind}: {seconds} s, REFOLD_SIM_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut company = Company::start(remote, &kind, &ROLES).await;
        let (client, turning) = company.client();
        let jobs = jobs(usize::try_from(seconds * JOBS_PER_SECOND).unwrap());
        let journal = Arc::new(Journal::new());
        let tickets = Arc::new(Semaphore::new(0));
        let load =
            tokio::spawn(run(client.clone(), jobs.clone(), Arc::clone(&journal), Arc::clone(&tickets)));
        let (done, is_done) = oneshot::channel();
        let watching = tokio::spawn(watch_counts(client.clone(), Arc::clone(&journal), is_done));
        let pacing = tokio::spawn(async move {
            let mut ticks = interval(PACE);
            for _ in 0..seconds * 10 {
                ticks.tick().await;
                tickets.add_permits(usize::try_from(JOBS_PER_SECOND / 10).unwrap());
            }
        });

        let began = Instant::now();
        let (end, mut disturbances) = (began + Duration::from_secs(seconds), 0);
        let of_redis = [1, 2].map(|third| began + Duration::from_secs(seconds) * third / 3);
        let mut of_redis = of_redis.into_iter().zip(["killed", "emptied"]).peekable();
        while Instant::now() < end {
            if let Some((_, what)) = of_redis.next_if(|(at, _)| *at <= Instant::now()) {
                match what {
                    "killed" => {
                        company.redis.kill();
                        company.redis.start_again();
                    }
                    // As somebody does who has mistaken it for another.
                    _ => drop(ask(&company.redis, "FLUSHALL").await),
                }
            }
            company.disturb(&mut random, end).await;
            disturbances += 1;
            moment(Instant::now() + Duration::from_millis(random.random_range(QUIET_MS))).await;
        }
        pacing.await.unwrap();
        finished(load, &journal).await;
        company.until_ready().await;
        done.send(()).unwrap();
        let shown = in_time("watched", watching).await.unwrap();
        let answers: Vec<_> = journal.answered().into_iter().map(|(_, answer)| answer).collect();
        for process in company.answering() {
            // Whoever stood still has yet to read what came meanwhile.
            let seen = process.client().get("/views/food_counts?limit=1").after(newest(&answers));
            seen.insist().await.is(200);
            everything_is_exact(&process.client(), &jobs, &journal).await;
        }
        every_repeat_is_answered_the_same(&journal).await;
        for process in company.answering() {
            everything_is_exact(&process.client(), &jobs, &journal).await;
        }
        turning.abort();
        println!(
            "{kind}: {disturbances} disturbances, {} answers, {} jobs; {shown:?}",
            journal.len(),
            jobs.len()
        );
        assert!(shown.counts > 0);
        for (_, process) in &mut company.processes {
            process.stop().await;
        }
    }
}

#[tokio::test]
async fn whoever_answers_tells_that_those_who_fold_do_not_get_on() {
    let (remote, kind) = Remote::asked().next().unwrap();
    let mut company = Company::start(remote, &kind, &["api", "projector"]).await;
    let [(_, api), (_, projector)] = &mut company.processes[..] else { panic!("there are two") };
    ask(&company.redis, "CONFIG SET maxmemory 1").await;
    let client = api.client();
    let answers = send_all(&vec![observe(&client, "pie"); 100]).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "the log takes them");
    projector.line("it is full").await;
    let problem = until_problem(api, "does not get on").await;
    assert_eq!(problem["up"], true, "what is there can be asked for: {problem}");
    api.line("does not get on").await;
    let said = api.said();
    assert_eq!(said.lines().filter(|line| line.contains("does not get on")).count(), 1, "{said}");
    let waited = client.get("/aggregated").header("Refold-Receipt", newest(&answers)).send().await;
    assert!(waited.problem(503, "not-folded").contains("does not get on"));

    ask(&company.redis, "CONFIG SET maxmemory 0").await;
    let found = aggregated(&client, &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 100}]));
    for process in [&mut *api, &mut *projector] {
        process.line("goes on, after: ").await;
    }

    // Now it stands still, and the store goes and comes back, which moves nothing.
    projector.signal("STOP").await;
    let answers = send_all(&vec![observe(&client, "pie"); 100]).await;
    api.line_times("whoever folds it does not get on", 3).await;
    company.redis.kill();
    company.redis.start_again();
    api.line("the store is back").await;
    let problem = until_problem(api, "no process says that it folds it").await;
    assert!(problem["problem"].as_str().unwrap().contains("does not get on"), "{problem}");
    let goes_on = |api: &Server| api.said().lines().filter(|line| line.contains("goes on, after: ")).count();
    assert_eq!(goes_on(api), 1, "{}", api.said());
    projector.signal("CONT").await;
    let found = aggregated(&client, &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 200}]));
    api.line_times("goes on, after: ", 2).await;
}
