//! Killed at any moment under load, the service loses nothing that it acknowledged and counts nothing twice.

use crate::client::{Answer, Call, Client};
use crate::data;
use crate::detections;
use crate::foods::{newest, observe, send_all};
use crate::introductions::saying;
use crate::ndjson::{self, CHUNK_LINES};
use crate::operations::total;
use crate::purchases::{SHOP, purchase};
use crate::server::{Server, in_time};
use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::slice;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// How many jobs are let loose before each kill.
pub(crate) const JOBS: usize = 300;
/// How many jobs are under way at the same time.
const CONCURRENCY: usize = 32;
/// For how long nothing may be answered while everything is well.
const STILL: Duration = Duration::from_secs(60);
/// How many receipts one query brings.
const RECEIPTS: usize = 500;
/// Over how many days purchases are spread, so that each day fits on a page.
const DAYS: usize = 20;
/// How many foods are eaten at a feast: three chunks of them.
const FEAST: usize = 2 * CHUNK_LINES + 100;

/// What a client does from time to time.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Eat(String),
    /// Eats all of these at once.
    Feast(Vec<String>),
    Buy,
    See(Value),
    /// Introduces somebody, then perhaps revises, then perhaps withdraws: so many commands.
    Live(u8),
}

/// Everything that was asked for and answered.
pub(crate) struct Journal {
    begun: Mutex<BTreeMap<String, u64>>,
    done: Mutex<Vec<(Call, Answer)>>,
    count: watch::Sender<usize>,
}

#[tokio::test]
async fn a_kill_under_load_loses_nothing_and_counts_nothing_twice() {
    let kills: usize = number("REFOLD_KILLS", 3);
    let seed = number("REFOLD_SIM_SEED", 1);
    println!("{kills} kills, REFOLD_SIM_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start().await;
    let client = server.client();
    let jobs = jobs((kills + 1) * JOBS);
    let journal = Arc::new(Journal::new());
    let tickets = Arc::new(Semaphore::new(0));
    let load = tokio::spawn(run(client.clone(), jobs.clone(), Arc::clone(&journal), Arc::clone(&tickets)));

    for _ in 0..kills {
        tickets.add_permits(JOBS);
        journal.until(journal.len() + random.random_range(0..JOBS)).await;
        server.kill().await;
        mistreat(&mut server, &mut random).await;
        server.up().await;
        nothing_is_lost(&client, &journal).await;
    }
    tickets.add_permits(JOBS);
    finished(load, &journal).await;

    everything_is_exact(&client, &jobs, &journal).await;
    server.kill().await;
    server.remove_store().await;
    server.up().await;
    everything_is_exact(&client, &jobs, &journal).await;
    every_repeat_is_answered_the_same(&journal).await;
    everything_is_exact(&client, &jobs, &journal).await;
}

/// What else may happen before the service is up again.
async fn mistreat(server: &mut Server, random: &mut StdRng) {
    if random.random_bool(0.3) {
        server.remove_store().await;
    }
    while random.random_bool(0.5) {
        server.spawn();
        if random.random_bool(0.5) {
            server.line("serving on").await;
        }
        server.kill().await;
    }
}

/// What a variable says, or the default.
pub(crate) fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(variable: &str, default: T) -> T {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

pub(crate) fn jobs(count: usize) -> Vec<Job> {
    let mut foods = data::observations().into_iter().cycle();
    let mut vehicles = data::detections().into_iter().cycle();
    let job = |number| match number % 25 {
        0 | 8 | 16 => Job::Buy,
        2 | 10 | 18 => Job::See(vehicles.next().unwrap()),
        6 => Job::Feast(foods.by_ref().take(FEAST).collect()),
        4 | 12 => Job::Live(u8::try_from(number % 3).unwrap() + 1),
        _ => Job::Eat(foods.next().unwrap()),
    };
    (0..count).map(job).collect()
}

pub(crate) async fn run(client: Client, jobs: Vec<Job>, journal: Arc<Journal>, tickets: Arc<Semaphore>) {
    let job = async |(number, job): (usize, Job)| {
        tickets.acquire().await.unwrap().forget();
        perform(&client, number, &job, &journal).await;
    };
    stream::iter(jobs.into_iter().enumerate()).map(job).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

/// Waits until everything is answered, as long as something is: how much was left to do depends on what happened before.
pub(crate) async fn finished(mut load: JoinHandle<()>, journal: &Journal) {
    loop {
        let before = journal.len();
        let finished = timeout(STILL, &mut load).await;
        if let Ok(finished) = finished {
            return finished.unwrap();
        }
        assert!(journal.len() > before, "nothing was answered for {STILL:?} after {before} answers");
    }
}

async fn perform(client: &Client, number: usize, job: &Job, journal: &Journal) {
    match job {
        Job::Eat(food) => {
            journal.begin(food);
            journal.send(observe(client, food).key(format!("food {number}"))).await.is(201);
        }
        Job::Feast(foods) => {
            foods.iter().for_each(|food| journal.begin(food));
            let call = client.post_lines("/foods", ndjson::foods(foods)).key(format!("feast {number}"));
            journal.send(call).await.is(201);
        }
        Job::See(vehicle) => {
            journal.send(client.post("/detections", vehicle).key(format!("vehicle {number}"))).await.is(201);
        }
        Job::Buy => {
            let answer = journal.send(client.post("/purchases", &bought(number))).await;
            // A repeat after an answer that was lost is answered 200.
            assert!([200, 201].contains(&answer.status), "{answer:?}");
        }
        Job::Live(commands) => live(client, number, *commands, journal).await,
    }
}

async fn live(client: &Client, number: usize, commands: u8, journal: &Journal) {
    let key = |verb: &str| format!("{verb} {number}");
    let text = saying(&format!("number {number}"));
    let made = journal.send(client.post("/introductions", &text).key(key("make"))).await.is(201);
    let path = made.header("Location");
    if commands > 1 {
        let revise = client.put(path, &saying("revised")).if_match("\"1\"").key(key("revise"));
        journal.send(revise).await.is(200);
    }
    if commands > 2 {
        let withdraw = client.delete(path).if_match("\"2\"").key(key("withdraw"));
        journal.send(withdraw).await.is(204);
    }
}

fn bought(number: usize) -> Value {
    let id = Uuid::from_u128(number as u128).to_string();
    purchase(&id, &format!("2021-12-{:02}T12:00:00Z", number % DAYS + 1))
}

/// What was acknowledged can be seen, and nothing that nobody asked for.
async fn nothing_is_lost(client: &Client, journal: &Journal) {
    let answered = journal.answered();
    receipts_are_readable(client, &answered).await;
    let counted = client.get("/aggregated").send().await.is(200).json();
    let counted = counts(&counted);
    let begun = journal.begun();
    for (food, acknowledged) in &acknowledged(&answered) {
        assert!(counted.get(food) >= Some(acknowledged), "{food}: {counted:?}, acknowledged {acknowledged}");
    }
    for (food, counted) in &counted {
        assert!(begun.get(food) >= Some(counted), "{food}: {counted}, begun {begun:?}");
    }
}

/// How often each food was said to be counted.
pub(crate) fn acknowledged(answered: &[(Call, Answer)]) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    for (call, _) in answered.iter().filter(|(_, answer)| answer.status == 201) {
        for sent in call.lines() {
            if let Some(food) = sent["food"].as_str() {
                *acknowledged.entry(food.to_owned()).or_default() += 1;
            }
        }
    }
    acknowledged
}

async fn receipts_are_readable(client: &Client, answered: &[(Call, Answer)]) {
    for chunk in answered.chunks(RECEIPTS) {
        let receipts: Vec<_> = chunk.iter().map(|(_, answer)| answer.receipt()).collect();
        client.get("/views/food_counts?limit=1").after(receipts.join(",")).send().await.is(200);
    }
}

pub(crate) async fn everything_is_exact(client: &Client, jobs: &[Job], journal: &Journal) {
    let answered = journal.answered();
    receipts_are_readable(client, &answered).await;
    let mut foods: BTreeMap<String, u64> = BTreeMap::new();
    for job in jobs {
        for food in eaten(job) {
            *foods.entry(food.clone()).or_default() += 1;
        }
    }
    let counted = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(counts(&counted), foods);
    let seen =
        jobs.iter().filter_map(|job| if let Job::See(vehicle) = job { Some(vehicle.clone()) } else { None });
    detections::all_are_there(client, &seen.collect::<Vec<_>>()).await;
    purchases_are_exact(client, jobs).await;
    introductions_are_exact(client, jobs, &answered).await;
    let commands: usize = jobs.iter().map(commands).sum();
    let metrics = client.get("/metrics").send().await.is(200).text;
    assert_eq!(total(&metrics, "refold_gate_commands_accepted_total"), commands as f64);
    assert_eq!(total(&metrics, "refold_log_gaps_total"), 0.0);
    assert_eq!(total(&metrics, "refold_gate_forks_total"), 0.0);
}

fn eaten(job: &Job) -> &[String] {
    match job {
        Job::Eat(food) => slice::from_ref(food),
        Job::Feast(foods) => foods,
        _ => &[],
    }
}

/// How many commands stand on the log for a job.
fn commands(job: &Job) -> usize {
    match job {
        Job::Live(count) => *count as usize,
        Job::Feast(foods) => foods.len().div_ceil(CHUNK_LINES),
        _ => 1,
    }
}

pub(crate) fn counts(aggregated: &Value) -> BTreeMap<String, u64> {
    let count = |row: &Value| (row["food"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap());
    aggregated.as_array().unwrap().iter().map(count).collect()
}

async fn purchases_are_exact(client: &Client, jobs: &[Job]) {
    for day in 1..=DAYS {
        let path = format!("/purchases/{SHOP}?date=2021-12-{day:02}&limit=1000");
        let mut found = client.get(path).send().await.is(200).json();
        let found = found.as_array_mut().unwrap();
        found.sort_by_key(|one| one["purchase_id"].as_str().unwrap().to_owned());
        let numbers = (0..jobs.len()).filter(|number| matches!(jobs[*number], Job::Buy));
        let expected: Vec<_> = numbers.filter(|number| number % DAYS + 1 == day).map(bought).collect();
        assert_eq!(*found, expected, "day {day}");
    }
}

async fn introductions_are_exact(client: &Client, jobs: &[Job], answered: &[(Call, Answer)]) {
    let made = answered.iter().filter_map(|(_, answer)| answer.headers.get("Location"));
    let paths: Vec<_> = made.map(|path| path.to_str().unwrap()).collect();
    let lives: Vec<_> =
        jobs.iter().filter_map(|job| if let Job::Live(count) = job { Some(*count) } else { None }).collect();
    assert_eq!(paths.len(), lives.len());
    let mut versions = Vec::new();
    for path in paths {
        let history = client.get(format!("{path}/history")).send().await.is(200).json();
        let happened = history.as_array().unwrap();
        versions.push(u8::try_from(happened.len()).unwrap());
        let found = client.get(path).send().await;
        match happened.len() {
            3 => drop(found.problem(410, "gone")),
            version => assert_eq!(found.is(200).json(), happened[version - 1]["data"]),
        }
    }
    let sorted = |mut lives: Vec<u8>| {
        lives.sort_unstable();
        lives
    };
    assert_eq!(sorted(versions), sorted(lives));
}

pub(crate) async fn every_repeat_is_answered_the_same(journal: &Journal) {
    let answered = journal.answered();
    let calls: Vec<_> = answered.iter().map(|(call, _)| call.clone()).collect();
    let again = send_all(&calls).await;
    for ((_, first), again) in answered.iter().zip(&again) {
        assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
        // Purchases have no key here: a repeat of one says that it is known.
        assert!(again.status == first.status || again.status == 200, "{first:?} {again:?}");
    }
    assert!(!newest(&again).is_empty());
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { begun: Mutex::default(), done: Mutex::default(), count: watch::Sender::new(0) }
    }

    fn begin(&self, food: &str) {
        *self.begun.lock().unwrap().entry(food.to_owned()).or_default() += 1;
    }

    async fn send(&self, call: Call) -> Answer {
        let answer = call.insist().await;
        self.done.lock().unwrap().push((call, answer.clone()));
        self.count.send_modify(|count| *count += 1);
        answer
    }

    pub(crate) fn len(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many commands were answered.
    pub(crate) async fn until(&self, answered: usize) {
        let mut count = self.count.subscribe();
        in_time("answered", count.wait_for(|count| *count >= answered)).await.unwrap();
    }

    /// How often each food was asked to be counted.
    pub(crate) fn begun(&self) -> BTreeMap<String, u64> {
        self.begun.lock().unwrap().clone()
    }

    pub(crate) fn answered(&self) -> Vec<(Call, Answer)> {
        self.done.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_kill_before_the_first_request_leaves_a_log_that_opens() {
    let mut server = Server::new();
    for line in ["folding", "serving on"] {
        server.spawn();
        server.line(line).await;
        server.kill().await;
    }
    for _ in 0..3 {
        server.spawn();
        server.kill().await;
    }
    server.up().await;
    let client = server.client();
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    let counted = crate::foods::aggregated(&client, &receipt).await;
    assert_eq!(counted, json!([{"food": "pie", "count": 1}]));
}
