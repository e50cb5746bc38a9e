//! Requests at a steady rate, whatever comes back: a server that stalls does not make its client stall too, and
//! the time that a request waited for its turn counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    Args,
    http::{Connection, Request},
};

/// What was answered within a second.
#[derive(Default)]
struct Second {
    /// By status; 0 is no answer at all.
    statuses: BTreeMap<u16, u64>,
    /// How long pictures took, in µs.
    micros: Vec<u64>,
    /// How long refusals took.
    refused: Vec<u64>,
    retry_after: BTreeSet<String>,
}

impl Second {
    fn add(&mut self, status: u16, micros: u64, retry_after: &str) {
        *self.statuses.entry(status).or_default() += 1;
        if status == 200 { &mut self.micros } else { &mut self.refused }.push(micros);
        if !retry_after.is_empty() {
            self.retry_after.insert(format!("{status}: {retry_after} s"));
        }
    }
}

pub async fn run(args: &Args) -> Result<(), String> {
    let (rate, seconds) = (args.number("rate")?, args.number("seconds")?);
    let connections = args.number("connections")?;
    let (host, targets) = args.targets()?;
    let targets = Arc::new(targets);
    let turns = Arc::new(AtomicU64::new(0));
    let book = Arc::new(Mutex::new(BTreeMap::<u64, Second>::new()));
    let started = Instant::now();
    let ends = started + Duration::from_secs(seconds);
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (host, targets) = (host.clone(), Arc::clone(&targets));
        let (turns, book) = (Arc::clone(&turns), Arc::clone(&book));
        workers.spawn(async move {
            let mut connection = Connection::new(&host);
            loop {
                let turn = turns.fetch_add(1, Relaxed);
                let mut due = Instant::now();
                if let Some(nanos) = (turn * 1_000_000_000).checked_div(rate) {
                    due = started + Duration::from_nanos(nanos);
                }
                if due >= ends {
                    break;
                }
                // Who slept was on time; the timer's own coarseness is not the server's.
                let wait = due.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    sleep(wait).await;
                    due = Instant::now();
                }
                let place = usize::try_from(turn).unwrap_or_default() % targets.len();
                let target = &targets[place];
                let path = target
                    .path
                    .replace("{w}", &(100 + turn % 1400).to_string())
                    .replace("{q}", &(1 + turn / 1400 % 100).to_string());
                let request = Request { method: "GET", target: &path, token: &target.token, header: None };
                let answer = connection.ask(&request).await;
                let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                let status = answer.as_ref().map_or(0, |answer| answer.status);
                let retry_after = answer.as_ref().map_or("", |answer| answer.header("retry-after"));
                let at = started.elapsed().as_secs();
                book.lock().unwrap_or_else(PoisonError::into_inner).entry(at).or_default().add(
                    status,
                    micros,
                    retry_after,
                );
                // A server that is not there is no reason to ask in a frenzy.
                if status == 0 {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    while workers.join_next().await.is_some() {}
    let mut all = Second::default();
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    for (at, second) in book.iter_mut() {
        println!("{}", line(&format!("\"second\":{at}"), second));
        for (status, count) in &second.statuses {
            *all.statuses.entry(*status).or_default() += count;
        }
        all.micros.append(&mut second.micros);
        all.refused.append(&mut second.refused);
        all.retry_after.append(&mut second.retry_after);
    }
    let took = started.elapsed().as_millis();
    println!("{}", line(&format!("\"millis\":{took}"), &mut all));
    Ok(())
}

fn line(what: &str, second: &mut Second) -> String {
    let statuses: Vec<_> = second.statuses.iter().map(|(status, n)| format!("\"{status}\":{n}")).collect();
    let retry_after: Vec<_> = second.retry_after.iter().map(|text| format!("{text:?}")).collect();
    format!(
        "{{{what},\"statuses\":{{{}}},{},{},\"retry_after\":[{}]}}",
        statuses.join(","),
        times("", &mut second.micros),
        times("refused_", &mut second.refused),
        retry_after.join(",")
    )
}

/// Percentiles in µs, null where there is nothing.
fn times(of: &str, micros: &mut [u64]) -> String {
    micros.sort_unstable();
    let at = |part: usize| match micros.len() {
        0 => "null".to_owned(),
        n => micros[(n * part / 1000).min(n - 1)].to_string(),
    };
    format!(
        "\"{of}p50\":{},\"{of}p99\":{},\"{of}p999\":{},\"{of}most\":{}",
        at(500),
        at(990),
        at(999),
        at(1000)
    )
}
